import { sinkTargets, type SinkSubject } from '../../src/conformance/sink.ts';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { neo4j, node, relationship, type NeoStore } from '../../src/stores/neo4j/index.ts';
import { neo4jUrl } from '../support/neo4j.ts';

/** Rows of every suite target as nodes, or as relationships from a node to itself. */
export type NeoShape = 'nodes' | 'relationships';

export interface NeoTargets extends SinkSubject {
  readonly store: NeoStore;
}

/** Labels stay from one case to the next, since making their constraints takes long; what carries them does not. */
export async function openTargets(
  shape: NeoShape,
  rowBytesMax?: number,
  prefix = `${shape}:`,
): Promise<NeoTargets> {
  const targets = Object.fromEntries(
    sinkTargets.flatMap(({ name, key }) => {
      const end = { target: `${name}_ends`, key };
      return shape === 'nodes'
        ? [[name, node({ label: `${prefix}${name}` })]]
        : [
            [name, relationship({ type: `${prefix}${name}`, from: end, to: end })],
            [end.target, node({ label: `${prefix}${name}_end` })],
          ];
    }),
  );
  const definition = neo4j({
    url: neo4jUrl(),
    prefix,
    targets,
    ...(rowBytesMax === undefined ? {} : { rowBytesMax }),
  });
  const open = (): Promise<NeoStore> =>
    definition.open({ name: 'graph', clock: systemClock, random: systemRandom });
  let store = await open();
  const clear = (): Promise<unknown> =>
    store.client.executeQuery(
      `MATCH (n) WHERE n.id STARTS WITH $prefix OR any(label IN labels(n) WHERE label STARTS WITH $prefix) DETACH DELETE n`,
      { prefix },
    );
  await clear();
  return {
    get sink() {
      return store.sink;
    },
    get store() {
      return store;
    },
    async read(target: string): Promise<ReadonlyMap<string, Row>> {
      const rows = new Map<string, Row>();
      for await (const page of store.scan.scan(target, { rowsMax: 1_000 }))
        for (const { key, row } of page) rows.set(encodeKey(key), row);
      return rows;
    },
    async reopen() {
      await store.close();
      store = await open();
    },
    async dispose() {
      await clear();
      await store.close();
    },
  };
}
