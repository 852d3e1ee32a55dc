import { flowsOf } from '../graph.ts';
import type { Topology } from '../topology.ts';

/** A box of the picture: a service with its stores, or a store that several use. */
export interface Box {
  readonly title: string;
  readonly rows: readonly {
    readonly store: string;
    readonly text: string;
    readonly family: string;
  }[];
  readonly kind: 'service' | 'store';
  readonly x: number;
  readonly y: number;
  readonly height: number;
}

/** Where everything stands. */
export interface Picture {
  readonly boxes: ReadonlyMap<string, Box>;
  readonly width: number;
  readonly height: number;
}

/** Measures of the picture, in pixels. */
export const measures = {
  boxWidth: 250,
  rowHeight: 24,
  head: 38,
  foot: 10,
  columnGap: 110,
  rowGap: 34,
  margin: 30,
};

/**
 * Services in columns from those that nobody calls to those that everybody waits for; what a flow feeds stands right of
 * what feeds it. A circle of calls is cut where it is entered.
 */
export function pictureOf(topology: Topology): Picture {
  const columns = columnsOf(topology);
  const boxes = new Map<string, Box>();
  const { boxWidth, columnGap, rowGap, margin } = measures;
  const below = new Map<number, number>();
  const place = (name: string, box: Pick<Box, 'title' | 'rows' | 'kind'>, column: number): void => {
    const y = below.get(column) ?? margin;
    const height = measures.head + box.rows.length * measures.rowHeight + measures.foot;
    boxes.set(name, { ...box, x: margin + column * (boxWidth + columnGap), y, height });
    below.set(column, y + height + rowGap);
  };
  for (const service of topology.services.values()) {
    const rows = [...topology.stores.values()].flatMap((store) =>
      store.users
        .filter((user) => user.service === service.name)
        .map(({ role }) => ({
          store: store.id,
          text: `${role}: ${store.title}${store.users.length > 1 ? ` (${store.id}, shared)` : ''}`,
          family: store.family ?? 'relational',
        })),
    );
    place(
      service.name,
      { title: service.name, rows, kind: 'service' },
      columns.get(service.name) ?? 0,
    );
  }
  const last = Math.max(0, ...columns.values());
  for (const store of topology.stores.values())
    if (store.users.length === 0)
      place(
        store.id,
        {
          title: store.id,
          rows: [{ store: store.id, text: store.title, family: store.family ?? 'relational' }],
          kind: 'store',
        },
        last + 1,
      );
  const all = [...boxes.values()];
  return {
    boxes,
    width: Math.max(0, ...all.map(({ x }) => x)) + boxWidth + margin,
    height: Math.max(0, ...all.map(({ y, height }) => y + height)) + margin,
  };
}

function columnsOf(topology: Topology): ReadonlyMap<string, number> {
  const edges = new Map<string, Set<string>>();
  for (const { name, calls = [] } of topology.services.values())
    edges.set(name, new Set(calls.map(({ to }) => to)));
  for (const { from, to } of flowsOf(topology))
    for (const source of from.users)
      for (const target of to.users)
        if (source.service !== target.service) edges.get(source.service)?.add(target.service);
  const columns = new Map<string, number>();
  const called = new Set([...edges.values()].flatMap((targets) => [...targets]));
  const roots = [...edges.keys()].filter((name) => !called.has(name));
  // Breadth first, each service once: in a circle there is no deepest place.
  let column = 0;
  let wave = roots.length > 0 ? roots : [...edges.keys()].slice(0, 1);
  while (columns.size < edges.size) {
    for (const name of wave) columns.set(name, column);
    const next = new Set(wave.flatMap((name) => [...(edges.get(name) ?? [])]));
    wave = [...next].filter((name) => !columns.has(name) && edges.has(name));
    const rest = [...edges.keys()].filter((name) => !columns.has(name));
    if (wave.length === 0) wave = rest.slice(0, 1);
    column += 1;
  }
  return columns;
}
