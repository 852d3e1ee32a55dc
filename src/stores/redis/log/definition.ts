import { checkNumber, checkOptions } from '../../../core/options.ts';
import type { Log } from '../../../ports/log.ts';
import type { StoreContext } from '../../../ports/store.ts';
import { loadDriver } from '../driver.ts';
import { readEviction, takesAnyKey } from '../eviction.ts';
import { readConfig } from '../info.ts';
import { openLink, type RedisLink } from '../link.ts';
import {
  checkRedisOptions,
  type RedisClusterOptions,
  type RedisServerOptions,
} from '../options.ts';
import { evicts } from './failures.ts';
import { checkLogName, logKeys, RedisLog } from './redis-log.ts';
import { WakeUp } from './wake-up.ts';

/** Redis holds a log in memory: enough for a target that is down for minutes, and little beside what else is there. */
const BYTES_MAX_DEFAULT = 256 * 1024 * 1024;

interface Named {
  /** Of this log alone; the name of the lane, say. Without braces. */
  readonly name: string;
  /**
   * Payloads, and 40 bytes for each record, that the log holds at most; beyond, appends fail with LOG_FULL. 256 MiB if
   * not given. Redis needs about a fifth more memory than that.
   */
  readonly bytesMax?: number;
}

/** Where a log in Redis is. */
export type RedisLogOptions = (RedisServerOptions | RedisClusterOptions) & Named;

/** What {@link redisLog} returns: how to open the log, without opening it. */
export interface RedisLogDefinition {
  /** Opens the log. Throws DRIVER_MISSING, STORE_UNREACHABLE, or CONFIG_INVALID if Redis may evict it. */
  open(context: StoreContext): Promise<Log>;
}

/**
 * A log in a stream of Redis 7, `<prefix>{_log:<name>}:records`, in one slot of a cluster. Many may open it, in any
 * processes; one appends at a time, and opening an appender fences every older one. Readers wait without
 * polling, in other processes too.
 *
 * What an append promises is what Redis promises: `supports.durable` is true only if this Redis has `appendonly yes`
 * and `appendfsync always` when the log is opened. Otherwise a crash may take the last second, and a failover
 * what the replica had not received. The log then goes on at a higher offset (`first` of a batch may be beyond
 * `from`), the appender fails with STORE_UNREACHABLE, and the next one finds where the log ends: what the source
 * still has is captured again, what it was told to forget is HISTORY_LOST. Records taken away by somebody else,
 * by XTRIM say, end all that was kept: readers before that learn LOG_TRUNCATED.
 *
 * Throws CONFIG_INVALID and CONFIG_UNKNOWN_OPTION.
 */
export function redisLog(options: RedisLogOptions): RedisLogDefinition {
  checkOptions(options, ['url', 'cluster', 'prefix', 'name', 'bytesMax'], 'redisLog');
  const { name, bytesMax = BYTES_MAX_DEFAULT, ...server } = options;
  checkNumber(bytesMax, 'redisLog.bytesMax', { min: 1, integer: true });
  const { address, prefix } = checkRedisOptions(server);
  const keys = logKeys(prefix, checkLogName(name, 'redisLog.name'));
  return {
    open: async ({ clock, random }) => {
      const driver = await loadDriver();
      const where = `log ${name}`;
      const connect = (): Promise<RedisLink> => openLink({ driver, address, clock, where });
      const link = await connect();
      try {
        await refuseEviction(link, where);
        const durable = await isDurable(link);
        const wakeUp = new WakeUp({ connect, stream: keys[1], clock, where });
        return new RedisLog({ link, wakeUp, keys, bytesMax, durable, random, where });
      } catch (error) {
        await link.close();
        throw error;
      }
    },
  };
}

async function refuseEviction(link: RedisLink, where: string): Promise<void> {
  const states = await readEviction(link);
  const bad = states.find((state) => takesAnyKey(state) && state.maxmemory > 0);
  if (bad !== undefined) throw evicts(where, bad.policy);
}

/** Whether the append-only file is synced before an answer. A hosted Redis does not say: then nothing is promised. */
async function isDurable(link: RedisLink): Promise<boolean> {
  const nodes = await readConfig(link, ['appendonly', 'appendfsync']);
  const synced = nodes.filter(
    ({ config }) => config.get('appendonly') === 'yes' && config.get('appendfsync') === 'always',
  );
  return nodes.length > 0 && synced.length === nodes.length;
}
