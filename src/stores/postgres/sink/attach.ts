import { TallyError } from '../../../core/errors.ts';
import { checkNumber, checkObject, fieldPath } from '../../../core/options.ts';
import type { KeyValue } from '../../../ports/key-value.ts';
import type { Scan } from '../../../ports/scan.ts';
import type { Sink } from '../../../ports/sink.ts';
import type { Database } from '../database.ts';
import { openQuery, type PostgresQuery } from '../query/query.ts';
import { openScan } from '../scan.ts';
import { Catalogue } from './catalogue.ts';
import { sweepExpired } from './expiry.ts';
import { Host } from './host.ts';
import { Readers } from './reader.ts';
import { openSink, ROW_BYTES_MAX } from './sink.ts';
import type { Targets } from './targets.ts';

/** Expired rows that one sweep removes, unless told otherwise. */
const SWEEP_MAX = 1_000;

/** The options of the side of a PostgreSQL store that is written by flows. */
export interface TargetOptions {
  /** What targets look like, by name; one that is not named holds documents. */
  readonly targets?: Targets;
  /** The largest row or value, as bytes of its canonical text. Default 64 MiB. */
  readonly rowBytesMax?: number;
}

/** The ports of a PostgreSQL store over its targets. They connect when they are first used. */
export interface TargetPorts {
  readonly sink: Sink;
  readonly scan: Scan;
  readonly query: PostgresQuery;
  /** The same key-value port, whose sweep removes expired rows of `keyValue` targets too. */
  sweeping(keyValue: KeyValue): KeyValue;
  /** Ends the connections of sessions that are still open; not the pool. */
  close(): Promise<void>;
}

/** The names of {@link TargetOptions}. */
export const targetOptionNames: readonly string[] = ['targets', 'rowBytesMax'];

const kinds: readonly unknown[] = ['table', 'documents', 'fullText', 'edges', 'keyValue'];

/** Checks target options without connecting. Throws CONFIG_INVALID. */
export function checkTargets(options: TargetOptions, path: string): Catalogue {
  const { targets = {}, rowBytesMax = ROW_BYTES_MAX } = options;
  // What jsonb takes for one document is 256 MB.
  checkNumber(rowBytesMax, fieldPath(path, 'rowBytesMax'), {
    min: 1_024,
    max: 250_000_000,
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
 * The sink, scan and query ports of a database. A session of the sink has a connection of its own: what flows write
 * never waits for the application's turn in the pool, nor meets its settings.
 */
export function openTargetPorts(database: Database, catalogue: Catalogue): TargetPorts {
  const host = new Host(database);
  const readers = new Readers(host, catalogue);
  return {
    sink: openSink(host, catalogue),
    scan: openScan(readers),
    query: openQuery(readers),
    sweeping: (keyValue) => ({
      supports: keyValue.supports,
      get: (key) => keyValue.get(key),
      getMany: (keys) => keyValue.getMany(keys),
      set: (key, value, options) => keyValue.set(key, value, options),
      delete: (key) => keyValue.delete(key),
      keys: (prefix, options) => keyValue.keys(prefix, options),
      async sweep(limit = SWEEP_MAX) {
        const swept = await keyValue.sweep(limit);
        return swept < limit ? swept + (await sweepExpired(host, catalogue, limit - swept)) : swept;
      },
    }),
    close: () => host.close(),
  };
}
