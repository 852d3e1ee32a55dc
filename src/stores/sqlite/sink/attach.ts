import type { DatabaseSync } from 'node:sqlite';
import { checkNumber, checkObject, fieldPath } from '../../../core/options.ts';
import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { KeyValue } from '../../../ports/key-value.ts';
import type { Scan } from '../../../ports/scan.ts';
import type { Sink } from '../../../ports/sink.ts';
import { openConnection, type Synchronous } from '../connection.ts';
import { openKeyValue } from '../key-value/key-value.ts';
import { openQuery, type SqliteQuery } from '../query/query.ts';
import { openScan } from '../scan.ts';
import { Catalogue } from './catalogue.ts';
import type { Host } from './host.ts';
import { openSink, ROW_BYTES_MAX } from './sink.ts';
import type { Targets } from './targets.ts';

/** The options of the side of a SQLite store that is written by flows. */
export interface TargetOptions {
  /** What targets look like, by name; one that is not named holds documents. */
  readonly targets?: Targets;
  /** The largest row or value, as bytes of its canonical text. Default 64 MiB. */
  readonly rowBytesMax?: number;
}

/** The ports of a SQLite store that share one connection of their own. */
export interface TargetPorts {
  /** The driver's object behind these ports. */
  readonly client: DatabaseSync;
  readonly sink: Sink;
  readonly keyValue: KeyValue;
  readonly scan: Scan;
  readonly query: SqliteQuery;
  close(): void;
}

/** The names of {@link TargetOptions}. */
export const targetOptionNames: readonly string[] = ['targets', 'rowBytesMax'];

const kinds: readonly unknown[] = ['table', 'documents', 'fullText', 'edges', 'keyValue'];

/** Checks target options without touching a file. Throws CONFIG_INVALID. */
export function checkTargets(options: TargetOptions, path: string): Catalogue {
  const { targets = {}, rowBytesMax = ROW_BYTES_MAX } = options;
  // SQLite itself takes no value of more than 10^9 bytes.
  checkNumber(rowBytesMax, fieldPath(path, 'rowBytesMax'), {
    min: 1_024,
    max: 900_000_000,
    integer: true,
  });
  for (const [name, target] of Object.entries(checkObject(targets, fieldPath(path, 'targets')))) {
    const where = fieldPath(fieldPath(path, 'targets'), name);
    if (!kinds.includes(checkObject(target, where)['kind']))
      throw new TallyError('CONFIG_INVALID', {
        what: `the target ${name} is not a target`,
        where,
        mend: 'make it with table(), documents(), fullText(), edges() or keyValue()',
        details: { path: where },
      });
  }
  return new Catalogue(targets, rowBytesMax);
}

/**
 * Opens the connection for sink, key-value, scan and queries. It is not the application's: a
 * transaction that the application keeps open across awaits must not take these writes in.
 */
export function openTargetPorts(options: {
  readonly file: string;
  readonly synchronous: Synchronous;
  readonly busyTimeoutMs: number;
  readonly clock: Clock;
  readonly catalogue: Catalogue;
}): TargetPorts {
  const { file, synchronous, busyTimeoutMs, clock, catalogue } = options;
  const connection = openConnection({ file, synchronous, busyTimeoutMs });
  connection.exec('PRAGMA busy_timeout = 0');
  const host: Host = { connection, clock, busyTimeoutMs };
  return {
    client: connection.database,
    sink: openSink(host, catalogue),
    keyValue: openKeyValue(host, catalogue),
    scan: openScan(host, catalogue),
    query: openQuery(host, catalogue),
    close: () => connection.close(),
  };
}
