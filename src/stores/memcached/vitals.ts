import type { Vital, Vitals } from '../../ports/vitals.ts';
import { readStats, type MemcachedLink } from './link.ts';

type Measured = readonly [name: string, unit: Vital['unit'], about: string];

/** Numbers of `stats`, as it calls them. */
const numbers: readonly Measured[] = [
  ['curr_items', 'count', 'Entries, expired ones that nobody asked for among them.'],
  ['bytes', 'bytes', 'Memory of entries.'],
  ['limit_maxbytes', 'bytes', 'The bound of memory (-m).'],
  ['evictions', 'count', 'Entries removed before their time for want of memory, since the start.'],
  ['evicted_unfetched', 'count', 'Of these, those that nobody had read.'],
  ['evicted_active', 'count', 'Of these, those that were read again and again.'],
  ['expired_unfetched', 'count', 'Entries that expired without having been read.'],
  ['get_hits', 'count', 'Reads that found something, since the start.'],
  ['get_misses', 'count', 'Reads that found nothing.'],
  ['get_expired', 'count', 'Of the misses, those that found something expired.'],
  ['cas_badval', 'count', 'Writes refused because the entry had changed.'],
  ['store_no_memory', 'count', 'Writes refused for want of memory.'],
  ['store_too_large', 'count', 'Writes refused because the value was larger than -I.'],
  ['curr_connections', 'count', 'Connections, those of the coordinator among them.'],
  ['max_connections', 'count', 'The bound of connections (-c).'],
  ['listen_disabled_num', 'count', 'How often that bound was reached.'],
  ['threads', 'count', 'Threads that serve.'],
  ['uptime', 'count', 'Seconds since the start.'],
];

/** What Memcached says about itself. */
export async function readVitals(link: MemcachedLink): Promise<Vitals> {
  const stats = await readStats(link);
  const measures = numbers.flatMap(([name, unit, about]): readonly Vital[] => {
    const value = stats.get(name);
    if (value === undefined) return [];
    return [{ name, value: Number(value), ...(unit === undefined ? {} : { unit }), about }];
  });
  return {
    system: 'memcached',
    version: stats.get('version') ?? '',
    measures: [
      {
        name: 'started_at',
        value: link.life.startedAtS,
        about: 'When it began, in seconds since 1970: everything before is forgotten.',
      },
      ...measures,
    ],
  };
}
