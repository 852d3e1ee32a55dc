import {
  checkNumber,
  checkOneOf,
  checkOptions,
  checkString,
  DURATION_MAX_MS,
} from '../../../core/options.ts';
import type { Caches, CacheSupports, CacheTier, OpenCacheOptions } from '../../../ports/cache.ts';
import type { Clock, Random } from '../../../ports/clock.ts';
import { openConnection, type Connection, type Synchronous } from '../connection.ts';
import { transaction } from '../sink/host.ts';
import { CACHE_TABLES } from './shelf.ts';
import { sqliteCacheSupports } from './supports.ts';
import { SqliteCacheTier, type CacheHosts } from './tier.ts';

export interface SqliteCachesOptions {
  readonly file: string;
  readonly synchronous: Synchronous;
  readonly busyTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
}

const NAME_CHARACTERS_MAX = 200;

/** The caches of a file, for all processes that open it. Connections are made when the first cache is opened. */
export class SqliteCaches implements Caches {
  readonly supports: CacheSupports = sqliteCacheSupports;
  readonly #options: SqliteCachesOptions;
  readonly #tiers = new Set<SqliteCacheTier>();
  readonly #connections: Connection[] = [];
  #hosts: Promise<CacheHosts> | undefined;

  constructor(options: SqliteCachesOptions) {
    this.#options = options;
  }

  async open(options: OpenCacheOptions): Promise<CacheTier> {
    checkOptions(options, ['name', 'payload', 'leaseMs'], 'cache');
    checkString(options.name, 'cache.name', { charactersMax: NAME_CHARACTERS_MAX });
    checkOneOf(options.payload, 'cache.payload', ['text', 'bytes']);
    checkNumber(options.leaseMs, 'cache.leaseMs', { min: 1, max: DURATION_MAX_MS });
    this.#hosts ??= this.#connect();
    const tier = new SqliteCacheTier(await this.#hosts, options, this.#options.random);
    this.#tiers.add(tier);
    return tier;
  }

  async close(): Promise<void> {
    for (const tier of this.#tiers) await tier.close();
    for (const connection of this.#connections) connection.close();
  }

  async #connect(): Promise<CacheHosts> {
    const { file, synchronous, busyTimeoutMs, clock } = this.#options;
    const hostOf = (mode: Synchronous): CacheHosts['quick'] => {
      const connection = openConnection({ file, synchronous: mode, busyTimeoutMs });
      this.#connections.push(connection);
      connection.exec('PRAGMA busy_timeout = 0');
      return { connection, clock, busyTimeoutMs };
    };
    try {
      const hosts = { durable: hostOf(synchronous), quick: hostOf('NORMAL') };
      const { connection } = hosts.durable;
      await transaction(hosts.durable, () => connection.database.exec(CACHE_TABLES));
      return hosts;
    } catch (error) {
      this.#hosts = undefined;
      throw error;
    }
  }
}
