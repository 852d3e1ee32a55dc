import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkObject, checkOptions, checkString } from '../../core/options.ts';
import type { Scan } from '../../ports/scan.ts';
import type { Sink } from '../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import { createCatalog } from './catalog.ts';
import { openDatabase, type Database } from './database.ts';
import type { DuckdbConnection } from './driver.ts';
import { DuckdbScan } from './scan.ts';
import { DuckdbSink } from './sink.ts';
import { sinkSupportsOf } from './supports.ts';
import { checkTargetName, columnar, literal, quote, type ColumnarTarget } from './targets.ts';
import { readVitals } from './vitals.ts';

/** What DuckDB may hold in memory unless told otherwise; the rest it spills beside the file. */
export const MEMORY_LIMIT = '512MB';
/** Threads that DuckDB computes with unless told otherwise. */
export const THREADS = 2;
const THREADS_MAX = 1_024;

/** Where the database is, what it may use, and what its targets look like. */
export interface DuckdbOptions {
  /** The path of the database file; it is created if it does not exist. */
  readonly file: string;
  /** Memory of DuckDB itself, such as `'512MB'` (default) or `'4GB'`; what it needs beyond is spilled. */
  readonly memoryLimit?: string;
  /** Threads DuckDB computes with. Default 2. */
  readonly threads?: number;
  /** Targets with declared columns. Any other target is a documents table: `key` VARCHAR, `doc` JSON. */
  readonly targets?: Readonly<Record<string, ColumnarTarget>>;
}

/** An open DuckDB file: the driver's own connection, and the ports that coordinate it. */
export interface DuckdbStore<
  Client extends DuckdbConnection = DuckdbConnection,
> extends Store<Client> {
  readonly system: 'duckdb';
  readonly sink: Sink;
  readonly scan: Scan;
  /**
   * Writes the rows that readers of a target see to a Parquet file (zstd), overwriting it; returns how
   * many. Throws TABLE_UNKNOWN, STORE_FULL, STORE_UNREACHABLE.
   */
  exportParquet(target: string, file: string): Promise<number>;
}

/**
 * Declares a store in a DuckDB file, for columnar reports fed by flows. Needs the package
 * `@duckdb/node-api`. `client` is the driver's connection for the application's own queries; name its
 * type as `duckdb<DuckDBConnection>(…)` to have all of it.
 *
 * Readers query the target's own name, a view without the coordinator's columns and without deleted
 * rows. Each row stands in `<target>__g<generation>` with `_fence`, `_ordinal` and `_deleted`.
 * A transaction of DuckDB costs a few milliseconds whatever is in it, so batches of ten
 * thousand rows and more are what it is made for. A merge by key reads the key columns of the whole
 * target: it grows with the table, and facts are better declared `appendOnly`.
 *
 * One process at a time may have the file open; for a second one `open` throws STORE_BUSY, also for
 * only reading a checkpoint: status and barriers are answered by the process that runs the flows. Two
 * stores of one process on one file share it, and must name the same memoryLimit and threads.
 *
 * Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION; `open` throws DRIVER_MISSING, STORE_BUSY,
 * STORE_UNREACHABLE or STORE_CORRUPT. A database in memory is refused: it would lose its checkpoint.
 */
export function duckdb<Client extends DuckdbConnection = DuckdbConnection>(
  options: DuckdbOptions,
): StoreDefinition<DuckdbStore<Client>> {
  checkOptions(options, ['file', 'memoryLimit', 'threads', 'targets'], 'duckdb');
  const { file, memoryLimit = MEMORY_LIMIT, threads = THREADS, targets = {} } = options;
  checkString(file, 'duckdb.file');
  if (file.startsWith(':memory:') || /^[a-z]{2,}:/.test(file))
    throw new TallyError('CONFIG_INVALID', {
      what: `'${file}' is not the path of a file`,
      where: 'duckdb.file',
      mend: 'give a plain path, in a temporary directory if it need not last',
    });
  checkString(memoryLimit, 'duckdb.memoryLimit', {
    pattern: { matches: /^\d+(\.\d+)? ?[KMGT]i?B$/i, says: "a size such as '512MB' or '4GB'" },
  });
  checkNumber(threads, 'duckdb.threads', { min: 1, max: THREADS_MAX, integer: true });
  checkTargets(targets);
  return {
    system: 'duckdb',
    open: async (context) => {
      const db = await openDatabase({ file, memoryLimit, threads });
      try {
        await createCatalog(db);
        return new OpenStore<Client>(context, db, targets);
      } catch (error) {
        await db.close();
        throw error;
      }
    },
  };
}

class OpenStore<Client extends DuckdbConnection> implements DuckdbStore<Client> {
  readonly name: string;
  readonly system = 'duckdb';
  readonly client: Client;
  readonly sink: Sink;
  readonly scan: DuckdbScan;
  readonly #db: Database;

  constructor(
    context: StoreContext,
    db: Database,
    declared: Readonly<Record<string, ColumnarTarget>>,
  ) {
    this.name = context.name;
    this.#db = db;
    this.client = db.client as Client;
    const supports = sinkSupportsOf(declared);
    const sink = new DuckdbSink({ db, clock: context.clock, supports, declared });
    this.sink = sink;
    this.scan = new DuckdbScan(db, (target) => sink.layout(target));
  }

  async vitals(): Promise<Vitals> {
    return readVitals(this.#db);
  }

  async exportParquet(target: string, file: string): Promise<number> {
    checkString(file, 'exportParquet.file');
    await this.scan.layout(target);
    const [row] = await this.#db.read(
      `COPY (SELECT * FROM ${quote(target)}) TO ${literal(file)} (FORMAT parquet, COMPRESSION zstd)`,
    );
    return Number(row?.[0] ?? 0);
  }

  async close(): Promise<void> {
    await this.#db.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function checkTargets(targets: Readonly<Record<string, ColumnarTarget>>): void {
  const seen = new Set<string>();
  for (const [name, target] of Object.entries(checkObject(targets, 'duckdb.targets'))) {
    checkTargetName(name, `duckdb.targets.${name}`);
    // DuckDB folds the case of names.
    if (seen.has(name.toLowerCase()))
      throw new TallyError('CONFIG_INVALID', {
        what: `two targets are called ${name}, letter case not counted`,
        where: 'duckdb.targets',
        mend: 'give them names that differ otherwise',
      });
    seen.add(name.toLowerCase());
    const { kind, ...rest } = checkObject(target, `duckdb.targets.${name}`);
    if (kind !== 'columnar')
      throw new TallyError('CONFIG_INVALID', {
        what: `the target ${name} was not made by columnar()`,
        where: `duckdb.targets.${name}`,
        mend: 'write columnar({ key, columns })',
      });
    columnar(rest as unknown as ColumnarTarget);
  }
}
