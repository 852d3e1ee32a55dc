import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions, checkString } from '../../core/options.ts';
import type { Scan } from '../../ports/scan.ts';
import type { Sink } from '../../ports/sink.ts';
import type { Store, StoreContext, StoreDefinition } from '../../ports/store.ts';
import type { Vitals } from '../../ports/vitals.ts';
import { loadDriver, type NeoDriver } from './driver.ts';
import { neoError } from './errors.ts';
import { Link } from './link.ts';
import { openScan } from './scan.ts';
import { NeoSink } from './sink.ts';
import { sinkSupports } from './supports.ts';
import { checkTargets, type TargetDeclaration, type Targets } from './targets.ts';
import { readVitals } from './vitals.ts';

/** How to reach a Neo4j, and what its targets are. */
export interface NeoOptions {
  /** `bolt://host:7687` for one server, `neo4j://` for a cluster; `bolt+s://` and `neo4j+s://` with TLS. */
  readonly url: string;
  /** Not given: the server asks for nobody. */
  readonly user?: string;
  readonly password?: string;
  /** Not given: the user's own default database. */
  readonly database?: string;
  /** What is in the database, by target; one that is not named is nodes with its name as their label. */
  readonly targets?: Readonly<Record<string, TargetDeclaration>>;
  /** For applications that share a database: what the coordinator's own records of this store begin with. Default: nothing. */
  readonly prefix?: string;
  /** The largest row, as bytes of its canonical text. Default 4 MiB. */
  readonly rowBytesMax?: number;
}

/** An open Neo4j: the driver, and the ports that coordinate it. */
export interface NeoStore extends Store<NeoDriver> {
  readonly system: 'neo4j';
  readonly sink: Sink;
  readonly scan: Scan;
}

const CONNECT_MS = 5_000;
const ACQUIRE_MS = 15_000;

/**
 * Declares a store in Neo4j 5.7 or newer: rows as nodes and relationships, with the checkpoint in the transaction of the rows.
 * Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION; `open` throws STORE_UNREACHABLE, DRIVER_MISSING.
 */
export function neo4j(options: NeoOptions): StoreDefinition<NeoStore> {
  const known = ['url', 'user', 'password', 'database', 'targets', 'prefix', 'rowBytesMax'];
  checkOptions(options, known, 'neo4j');
  const { url, user, password, database, prefix = '', rowBytesMax } = options;
  checkUrl(url);
  for (const [name, value] of Object.entries({ user, password, database }))
    if (value !== undefined) checkString(value, `neo4j.${name}`);
  checkString(prefix, 'neo4j.prefix', { charactersMin: 0, charactersMax: 100 });
  const bytesMax = checkNumber(rowBytesMax ?? sinkSupports.rowBytesMax, 'neo4j.rowBytesMax', {
    min: 1,
    max: 64 * 2 ** 20,
  });
  const targets = checkTargets(options.targets ?? {}, 'neo4j.targets');
  return {
    system: 'neo4j',
    open: async (context) => {
      const { driver: connect, auth } = await loadDriver();
      const where = `store ${context.name}`;
      const given = user === undefined ? undefined : auth.basic(user, password ?? '');
      const driver = connect(url, given, {
        useBigInt: true,
        connectionTimeout: CONNECT_MS,
        connectionAcquisitionTimeout: ACQUIRE_MS,
      });
      const link = new Link(driver, database, where, context.clock);
      try {
        await driver.verifyConnectivity(database === undefined ? {} : { database });
      } catch (error) {
        await driver.close();
        throw neoError(error, where);
      }
      return new OpenStore(context, driver, { link, prefix, targets, rowBytesMax: bytesMax });
    },
  };
}

/** The message never repeats the address: there may be a password in it. */
function checkUrl(url: string): void {
  checkString(url, 'neo4j.url');
  if (/^(?:bolt|neo4j)(?:\+s|\+ssc)?:\/\/[^/@]+\/?$/.test(url)) return;
  throw new TallyError('CONFIG_INVALID', {
    what: 'this is not the address of a Neo4j',
    where: 'neo4j.url',
    mend: 'write bolt://host:7687, or neo4j:// for a cluster; user and password are options of their own',
    details: { path: 'neo4j.url' },
  });
}

interface Parts {
  readonly link: Link;
  readonly prefix: string;
  readonly targets: Targets;
  readonly rowBytesMax: number;
}

class OpenStore implements NeoStore {
  readonly name: string;
  readonly system = 'neo4j';
  readonly client: NeoDriver;
  readonly sink: Sink;
  readonly scan: Scan;
  readonly #link: Link;

  constructor(context: StoreContext, client: NeoDriver, parts: Parts) {
    this.name = context.name;
    this.client = client;
    this.#link = parts.link;
    this.sink = new NeoSink(parts);
    this.scan = openScan(parts.link, parts.prefix, parts.targets);
  }

  vitals(): Promise<Vitals> {
    return readVitals(this.#link);
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
