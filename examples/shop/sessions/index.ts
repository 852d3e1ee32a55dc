import type { RedisClient, RedisStore } from 'tallystick/redis';
import type { SqliteStore } from 'tallystick/sqlite';
import { sessionsInRedis } from './redis.ts';
import type { Sessions } from './sessions.ts';
import { sessionsInSqlite } from './sqlite.ts';

/** The sessions behind an open store. */
export function sessionsIn(store: SqliteStore | RedisStore<RedisClient>): Sessions {
  return store.system === 'sqlite' ? sessionsInSqlite(store) : sessionsInRedis(store);
}
