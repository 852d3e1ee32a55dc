import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import {
  sinkConformance,
  sinkTargets,
  type ColumnKind,
  type SinkSubject,
} from '../../src/conformance/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { checkTargets, openTargetPorts } from '../../src/stores/sqlite/sink/attach.ts';
import { sinkSupports } from '../../src/stores/sqlite/sink/sink.ts';
import {
  documents,
  edges,
  fullText,
  keyValue,
  table,
  type TargetDeclaration,
  type Targets,
} from '../../src/stores/sqlite/sink/targets.ts';

// The rows of the suite are small, and a limit of a megabyte is as good as one of 64.
const rowBytesMax = 2 ** 20;

const columnTypes: Readonly<Record<ColumnKind, string>> = {
  text: 'TEXT',
  whole: 'INTEGER',
  fraction: 'REAL',
  big: 'INTEGER',
  bytes: 'BLOB',
  boolean: 'BOOLEAN',
  list: 'JSON',
  object: 'JSON',
  any: 'BLOB',
};

/** Columns of REAL lose the sign of zero and refuse NaN; as JSON they keep both. */
const asJson = ['negativeZero', 'nan'];

const kinds: Readonly<Record<TargetDeclaration['kind'], Targets>> = {
  documents: declared(() => documents()),
  table: declared(({ key, columns }) => {
    const types = Object.entries(columns).map(([name, kind]) => [
      name,
      asJson.includes(name) ? 'JSON' : columnTypes[kind],
    ]);
    return table({ key, columns: Object.fromEntries(types) as Record<string, string> });
  }),
  fullText: declared(({ columns }) => fullText({ columns: Object.keys(columns) })),
  edges: declared(({ key, columns }) => {
    const [from = ''] = key;
    return edges({ from, to: key[1] ?? from, kind: Object.keys(columns).at(-1) ?? from });
  }),
  keyValue: declared(() => keyValue({ ttl: '1h' })),
};

function declared(of: (table: (typeof sinkTargets)[number]) => TargetDeclaration): Targets {
  return Object.fromEntries(sinkTargets.map((target) => [target.name, of(target)]));
}

for (const [kind, targets] of Object.entries(kinds)) {
  describe(`sqlite, targets of kind ${kind}`, () => {
    sinkConformance({
      test,
      supports: { ...sinkSupports, rowBytesMax },
      open: () => openSubject(targets),
    });
  });
}

async function openSubject(targets: Targets): Promise<SinkSubject> {
  const folder = await mkdtemp(join(tmpdir(), 'tally-sink-'));
  const connect = (): ReturnType<typeof openTargetPorts> =>
    openTargetPorts({
      file: join(folder, 'target.db'),
      synchronous: 'NORMAL',
      busyTimeoutMs: 1_000,
      clock: systemClock,
      catalogue: checkTargets({ targets, rowBytesMax }, 'sqlite'),
    });
  let ports = connect();
  return {
    get sink() {
      return ports.sink;
    },
    async read(target) {
      const rows = new Map<string, Row>();
      for await (const page of ports.scan.scan(target, { rowsMax: 1_000 }))
        for (const { key, row } of page) rows.set(encodeKey(key), row);
      return rows;
    },
    async reopen() {
      ports.close();
      ports = connect();
      await Promise.resolve();
    },
    async dispose() {
      ports.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
