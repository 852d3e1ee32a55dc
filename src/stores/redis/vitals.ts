import type { Vital, Vitals } from '../../ports/vitals.ts';
import { readConfig, readInfo, type Info } from './info.ts';
import type { RedisLink } from './link.ts';
import { persistenceOf } from './persistence.ts';

type Measured = readonly [name: string, unit: Vital['unit'], about: string];

/** Numbers of INFO, as it calls them. */
const numbers: readonly Measured[] = [
  ['master_repl_offset', 'position', 'How far the history of this replication id goes.'],
  ['connected_slaves', 'count', 'Replicas that are connected; a failover goes to one of them.'],
  ['min_slaves_good_slaves', 'count', 'Replicas that lag less than min-replicas-max-lag.'],
  ['expired_keys', 'count', 'Keys that reached their time to live since the start.'],
  ['evicted_keys', 'count', 'Keys that were removed for want of memory since the start.'],
  ['used_memory', 'bytes', 'Memory of data and bookkeeping.'],
  ['maxmemory', 'bytes', 'The bound of memory; 0 is none.'],
  ['mem_fragmentation_ratio', undefined, 'Resident memory as a multiple of what is used.'],
  ['instantaneous_ops_per_sec', 'count', 'Commands a second, just now.'],
  ['connected_clients', 'count', 'Connections, those of the coordinator among them.'],
  ['blocked_clients', 'count', 'Connections that wait in a blocking command.'],
  ['rdb_changes_since_last_save', 'count', 'Changes that no snapshot holds.'],
  ['rdb_last_save_time', undefined, 'The last snapshot, in seconds since 1970.'],
  ['aof_current_size', 'bytes', 'The append-only file.'],
  ['aof_delayed_fsync', 'count', 'Flushes that had to wait for the disk.'],
  ['uptime_in_seconds', 'count', 'Seconds since the start.'],
];

/** Words of INFO, as it calls them. */
const words: readonly Measured[] = [
  ['role', undefined, 'master, or slave for a replica, which takes no writes.'],
  [
    'master_replid',
    undefined,
    'The history that this server goes on with; another one after a restart without a file, or a failover.',
  ],
  ['master_replid2', undefined, 'The history before a failover.'],
  ['run_id', undefined, 'Another one after each start.'],
  [
    'maxmemory_policy',
    undefined,
    'What is removed when memory is full; allkeys-* takes the fences, too.',
  ],
  ['master_link_status', undefined, 'Of a replica: whether it hears its master.'],
  ['rdb_last_bgsave_status', undefined, 'Whether the last snapshot succeeded.'],
  ['aof_last_write_status', undefined, 'Whether the last write to the append-only file succeeded.'],
  [
    'aof_last_bgrewrite_status',
    undefined,
    'Whether the last rewrite of the append-only file succeeded.',
  ],
];

/** What Redis says about itself; of a cluster, each master's measures carry its address. */
export async function readVitals(link: RedisLink): Promise<Vitals> {
  const nodes = await readInfo(link);
  const settings = await readConfig(link, ['save', 'appendfsync']);
  const version = nodes[0]?.info.get('redis_version') ?? '';
  const measures = nodes.flatMap(({ node, info }) => {
    const config = settings.find((one) => one.node === node)?.config ?? new Map<string, string>();
    const measured = measuresOf(info, config);
    return link.isCluster
      ? measured.map((measure) => ({ ...measure, name: `${node} ${measure.name}` }))
      : measured;
  });
  return { system: 'redis', version, measures };
}

function measuresOf(info: Info, config: Info): readonly Vital[] {
  const { mode, loses } = persistenceOf(info, config);
  const read = ([name, unit, about]: Measured, value: string | number): Vital => ({
    name,
    value,
    ...(unit === undefined ? {} : { unit }),
    about,
  });
  return [
    ...words.flatMap((one) => {
      const value = info.get(one[0]);
      return value === undefined ? [] : [read(one, value)];
    }),
    { name: 'persistence', value: mode, about: `What is lost when it dies: ${loses}.` },
    ...numbers.flatMap((one) => {
      const value = info.get(one[0]);
      return value === undefined ? [] : [read(one, Number(value))];
    }),
    ...[...info]
      .filter(([name]) => /^db\d+$/.test(name))
      .map(([name, value]): Vital => ({
        name: `keyspace_${name}`,
        value: Number(/keys=(\d+)/.exec(value)?.[1] ?? 0),
        unit: 'count',
        about: 'Keys in this database, those of the coordinator among them.',
      })),
  ];
}
