import { TallyError } from '../../core/errors.ts';
import { checkString } from '../../core/options.ts';

/** A leap day comes after eight years at the latest: what is not found in them never comes. */
const DAYS_BACK_MAX = 8 * 366;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** Clocks of two zones differ by 14 hours at most. */
const OFFSET_MAX_MS = 15 * 3_600_000;

const fields = [
  { name: 'minute', min: 0, max: 59 },
  { name: 'hour', min: 0, max: 23 },
  { name: 'day of the month', min: 1, max: 31 },
  { name: 'month', min: 1, max: 12 },
  { name: 'day of the week', min: 0, max: 7 },
] as const;

type Field = (typeof fields)[number];

/** Tells the moments of a cron expression. */
export interface Cron {
  /** The latest moment at or before `ms` (milliseconds since 1970); undefined if there was none for eight years. */
  last(ms: number): number | undefined;
}

/**
 * Reads the five fields of cron (minute, hour, day of the month, month, day of the week; `*`, lists, ranges, steps, Sunday is
 * 0 or 7), meant in a time zone of the IANA database. As in cron, a day has to match one of its two fields if both are
 * given. When clocks are put forward, a moment in the hour that is missing does not come that day; when they are put back,
 * one in the hour that comes twice comes once, the first time. Throws CONFIG_INVALID.
 */
export function cron(text: string, timeZone: string, path: string): Cron {
  const given = checkString(text, path, { charactersMax: 200 }).trim().split(/\s+/);
  if (given.length !== fields.length)
    throw invalid(path, `has ${given.length} fields, not five`, 'minute hour day month weekday');
  const [minutes, hours, days, months, weekdays] = fields.map((field, index) =>
    valuesOf(given[index] ?? '', field, path),
  ) as [Set<number>, Set<number>, Set<number>, Set<number>, Set<number>];
  if (weekdays.has(7)) weekdays.add(0);
  const anyDay = given[2] === '*';
  const anyWeekday = given[4] === '*';
  const zone = zoneOf(timeZone, path);
  const isDay = (date: Date): boolean => {
    if (!months.has(date.getUTCMonth() + 1)) return false;
    const [ofMonth, ofWeek] = [days.has(date.getUTCDate()), weekdays.has(date.getUTCDay())];
    return anyDay || anyWeekday ? ofMonth && ofWeek : ofMonth || ofWeek;
  };
  const times = [...hours]
    .flatMap((hour) => [...minutes].map((minute) => (hour * 60 + minute) * MINUTE_MS))
    .toSorted((left, right) => right - left);
  return {
    last: (ms) => {
      // A day is looked at as the calendar has it: in UTC, shifted to what the clocks there show.
      const today = Math.floor(zone.localMs(ms) / DAY_MS) * DAY_MS;
      for (let back = 0; back <= DAYS_BACK_MAX; back += 1) {
        const day = today - back * DAY_MS;
        if (!isDay(new Date(day))) continue;
        for (const time of times) {
          const at = zone.instantMs(day + time);
          if (at !== undefined && at <= ms) return at;
        }
      }
      return undefined;
    },
  };
}

/** What one field allows. */
function valuesOf(text: string, { name, min, max }: Field, path: string): Set<number> {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part);
    if (match === null)
      throw invalid(
        path,
        `has ${JSON.stringify(part.slice(0, 20))} as its ${name}`,
        '*, 5, 1-5, */10 or 1,15',
      );
    const [, low, high, step] = match;
    const from = low === undefined ? min : Number(low);
    const to =
      low === undefined || (high === undefined && step !== undefined) ? max : Number(high ?? low);
    const by = step === undefined ? 1 : Number(step);
    if (from < min || to > max || from > to || by === 0)
      throw invalid(path, `has ${JSON.stringify(part)} as its ${name}`, `from ${min} to ${max}`);
    for (let value = from; value <= to; value += by) values.add(value);
  }
  return values;
}

interface Zone {
  /** What the clocks of the zone show at an instant, as if it were UTC. */
  localMs(ms: number): number;
  /** The first instant at which they show it; undefined if they pass over it. */
  instantMs(localMs: number): number | undefined;
}

function zoneOf(timeZone: string, path: string): Zone {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-US-u-ca-gregory-nu-latn-hc-h23', {
      timeZone,
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  } catch {
    throw invalid(
      path,
      `names the time zone ${JSON.stringify(timeZone)}, which is not known`,
      'UTC or Europe/Berlin',
    );
  }
  const localMs = (ms: number): number => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
    const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? Number.NaN;
    return Date.UTC(
      part('year'),
      part('month') - 1,
      part('day'),
      part('hour'),
      part('minute'),
      part('second'),
    );
  };
  return {
    localMs,
    instantMs: (local) => {
      // The offsets that can be in force there: the one before every change near it, and the one after.
      const offsets = [local - OFFSET_MAX_MS, local + OFFSET_MAX_MS].map((ms) => localMs(ms) - ms);
      const instants = offsets
        .map((offset) => local - offset)
        .filter((ms) => localMs(ms) === local);
      return instants.length === 0 ? undefined : Math.min(...instants);
    },
  };
}

function invalid(path: string, why: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: `the cron expression ${why}`,
    where: path,
    mend: `write, for example, ${mend}`,
  });
}
