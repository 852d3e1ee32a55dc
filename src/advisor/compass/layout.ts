import type { CapClass, Configuration, SystemProfile } from '../system.ts';

/** One system in one configuration, with its place on the compass. */
export interface Mark {
  readonly system: SystemProfile;
  readonly configuration: Configuration;
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

/** The circle and everything on it. */
export interface Compass {
  readonly radius: number;
  readonly marks: readonly Mark[];
}

const ROW_HEIGHT = 21;
const GAP = 8;
const RADIUS_MIN = 400;
/** The circle grows by this until everything fits into its sectors. */
const RADIUS_STEP = 20;
/** Beyond it the page is no picture any more. */
const RADIUS_MAX = 2_000;
const CHARACTER_WIDTH = 7.1;
const SMALL_WIDTH = 5.9;
/** Kept free around the name of each sector. */
const EDGE = 26;

/** The sectors, by the angle where they begin, counter-clockwise from the right, in degrees; each is a third. */
export const sectors: Readonly<Record<CapClass, number>> = { AP: -30, CP: 90, CA: 210 };

/** Places every configuration in the sector of its CAP class, in rows, families together. */
export function layOut(systems: readonly SystemProfile[]): Compass {
  const all = systems.flatMap((system) =>
    system.configurations.map((configuration) => ({ system, configuration })),
  );
  for (let radius = RADIUS_MIN; radius <= RADIUS_MAX; radius += RADIUS_STEP) {
    const marks = (Object.keys(sectors) as CapClass[]).map((cap) =>
      fill(
        cap,
        radius,
        all.filter(({ configuration }) => configuration.cap.value === cap),
      ),
    );
    if (marks.every((placed) => placed !== undefined)) return { radius, marks: marks.flat() };
  }
  return { radius: RADIUS_MAX, marks: [] };
}

/** Rows of one sector, as far down as up; undefined if it is too small. */
function fill(
  cap: CapClass,
  radius: number,
  all: readonly Pick<Mark, 'system' | 'configuration'>[],
): readonly Mark[] | undefined {
  const fitting: (readonly Mark[])[] = [];
  for (let top = -radius + 2 * EDGE; top < radius; top += ROW_HEIGHT) {
    const rows = fillFrom(top, cap, radius, all);
    if (rows !== undefined) fitting.push(rows);
  }
  return fitting[Math.floor(fitting.length / 2)];
}

function fillFrom(
  top: number,
  cap: CapClass,
  radius: number,
  all: readonly Pick<Mark, 'system' | 'configuration'>[],
): readonly Mark[] | undefined {
  const waiting = all.map((one) => ({ ...one, width: widthOf(one) }));
  const placed: Mark[] = [];
  for (let y = top; y < radius - EDGE && waiting.length > 0; y += ROW_HEIGHT) {
    const [left, right] = extent(cap, radius, y);
    let x = left;
    const row: Mark[] = [];
    for (let next = waiting[0]; next !== undefined && x + next.width <= right; next = waiting[0]) {
      row.push({ ...next, x, y });
      x += next.width + GAP;
      waiting.shift();
    }
    // In the middle of what is free: the rows of a wedge look crooked otherwise.
    const shift = row.length === 0 ? 0 : (right - (x - GAP)) / 2;
    placed.push(...row.map((mark) => ({ ...mark, x: mark.x + shift })));
  }
  return waiting.length === 0 ? placed : undefined;
}

/** From where to where a row may go: a chip is two lines of the circle high, both must be in the sector. */
function extent(cap: CapClass, radius: number, y: number): readonly [left: number, right: number] {
  let left = Number.POSITIVE_INFINITY;
  let right = Number.NEGATIVE_INFINITY;
  for (let x = -radius; x <= radius; x += 4)
    if (inside(cap, radius, x, y - 11) && inside(cap, radius, x, y + 11)) {
      left = Math.min(left, x);
      right = Math.max(right, x);
    }
  return [left + GAP, right - GAP];
}

function inside(cap: CapClass, radius: number, x: number, y: number): boolean {
  if (Math.hypot(x, y) > radius - EDGE) return false;
  const angle = ((Math.atan2(-y, x) * 180) / Math.PI - sectors[cap] + 720) % 360;
  return angle > 1 && angle < 119;
}

function widthOf({ system, configuration }: Pick<Mark, 'system' | 'configuration'>): number {
  return 27 + system.name.length * CHARACTER_WIDTH + configuration.id.length * SMALL_WIDTH;
}
