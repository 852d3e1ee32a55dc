import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sinkTargets, type ColumnKind } from '../../src/conformance/sink.ts';
import type { Clock } from '../../src/ports/clock.ts';
import {
  checkTargets,
  openTargetPorts,
  type TargetPorts,
} from '../../src/stores/sqlite/sink/attach.ts';
import {
  documents,
  edges,
  fullText,
  keyValue,
  table,
  type TargetDeclaration,
  type Targets,
} from '../../src/stores/sqlite/sink/targets.ts';

/** The rows of the suites are small, and a limit of a megabyte is as good as one of 64. */
export const rowBytesMax: number = 2 ** 20;

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

/** The suites' targets, declared as each kind that SQLite has. */
export const targetKinds: Readonly<Record<TargetDeclaration['kind'], Targets>> = {
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

function declared(of: (target: (typeof sinkTargets)[number]) => TargetDeclaration): Targets {
  return Object.fromEntries(sinkTargets.map((target) => [target.name, of(target)]));
}

/** Ports on a new file, which can be closed and opened again. */
export interface TargetFile {
  readonly ports: TargetPorts;
  readonly file: string;
  reopen(): void;
  dispose(): Promise<void>;
}

export async function targetFile(targets: Targets, clock: Clock): Promise<TargetFile> {
  const folder = await mkdtemp(join(tmpdir(), 'tally-targets-'));
  const file = join(folder, 'target.db');
  const connect = (): TargetPorts =>
    openTargetPorts({
      file,
      synchronous: 'NORMAL',
      busyTimeoutMs: 1_000,
      clock,
      catalogue: checkTargets({ targets, rowBytesMax }, 'sqlite'),
    });
  let ports = connect();
  return {
    get ports() {
      return ports;
    },
    file,
    reopen() {
      ports.close();
      ports = connect();
    },
    async dispose() {
      ports.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
