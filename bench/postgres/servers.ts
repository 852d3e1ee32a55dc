import {
  startPostgres,
  startRedis,
  type PostgresServer,
  type RedisServer,
} from '../../servers/index.ts';

/** The PostgreSQL that all of these run on: Debian's, so that results can be compared. */
const POSTGRES_VERSION = '15';

/** A PostgreSQL that waits for the disk at each commit. */
export function durablePostgres(): Promise<PostgresServer> {
  return startPostgres({
    version: POSTGRES_VERSION,
    settings: {
      fsync: 'on',
      shared_buffers: '256MB',
      max_wal_size: '4GB',
      // As it is delivered; a snapshot's readers and the pool need no more.
      max_connections: '100',
      dynamic_shared_memory_type: 'posix',
    },
  });
}

/** A Redis that writes its log to the disk each second, as it is delivered. */
export function durableRedis(
  settings: Readonly<Record<string, string>> = {},
): Promise<RedisServer> {
  return startRedis({ settings: { appendonly: 'yes', appendfsync: 'everysec', ...settings } });
}
