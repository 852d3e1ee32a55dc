import type { Diagnose, Finding, StoreUse } from '../../ports/diagnose.ts';
import { readStats, type MemcachedLink } from './link.ts';

/** The first version whose lease, stale and version flags are what the caches use. */
const MINOR_MIN = 6;
/** Of its memory: from here on each new entry pushes another one out. */
const MEMORY_WARN = 0.9;
/** Of what was evicted: so much that nobody had read says that the memory is too small for what is written. */
const UNREAD_WARN = 0.5;
const CONNECTIONS_WARN = 0.9;

type Stats = ReadonlyMap<string, string>;

/** Judges what {@link readVitals} shows. Throws STORE_UNREACHABLE. */
export function openDiagnose(link: MemcachedLink): Diagnose {
  return async (use) => {
    const stats = await readStats(link);
    const settings = await readStats(link, 'settings');
    return [
      version(stats),
      role(use),
      memory(stats),
      evictions(stats, settings),
      connections(stats),
      dumps(settings),
    ];
  };
}

function version(stats: Stats): Finding {
  const found = stats.get('version') ?? 'unknown';
  const [major = 0, minor = 0] = found.split('.').map(Number);
  if (major > 1 || (major === 1 && minor >= MINOR_MIN)) return ok('version', found);
  return {
    level: 'fail',
    check: 'version',
    found,
    remedy: 'upgrade to Memcached 1.6 or newer (the administrator): the meta protocol came with it',
  };
}

function role({ tables, targets }: StoreUse): Finding {
  const check = 'role';
  if (tables.length === 0 && targets.length === 0) return ok(check, 'a cache');
  return {
    level: 'fail',
    check,
    found: 'flows read from it or write to it, and it forgets what it has no memory for',
    remedy: 'let the flow go to a store that keeps what it was given, such as redis({ url })',
  };
}

function memory(stats: Stats): Finding {
  const [used, max] = [numberOf(stats, 'bytes'), numberOf(stats, 'limit_maxbytes')];
  const found = `${used} of ${max} bytes used, ${numberOf(stats, 'evictions')} entries evicted`;
  if (max === 0 || used < max * MEMORY_WARN) return ok('memory', found);
  return {
    level: 'warn',
    check: 'memory',
    found,
    remedy:
      'start it with a larger -m (the administrator): each new entry pushes out another one now',
  };
}

function evictions(stats: Stats, settings: Stats): Finding {
  const check = 'evictions';
  if (settings.get('evictions') === 'off')
    return {
      level: 'warn',
      check,
      found: 'turned off (-M): when memory is full, writes are refused',
      remedy: 'start it without -M (the administrator), unless callers are meant to see STORE_FULL',
    };
  const [evicted, unread] = [numberOf(stats, 'evictions'), numberOf(stats, 'evicted_unfetched')];
  const found = `${evicted} since the start, ${unread} of them never read`;
  if (evicted === 0 || unread < evicted * UNREAD_WARN) return ok(check, found);
  return {
    level: 'warn',
    check,
    found,
    remedy:
      'start it with a larger -m (the administrator), or cache less: what is loaded is gone before it is used',
  };
}

function connections(stats: Stats): Finding {
  const [current, max] = [numberOf(stats, 'curr_connections'), numberOf(stats, 'max_connections')];
  const refused = numberOf(stats, 'listen_disabled_num');
  const found = `${current} of ${max}, the bound was reached ${refused} times`;
  if (refused === 0 && current < max * CONNECTIONS_WARN) return ok('connections', found);
  return {
    level: 'warn',
    check: 'connections',
    found,
    remedy: 'start it with a larger -c (the administrator); each process of ours takes two',
  };
}

function dumps(settings: Stats): Finding {
  const isOn = settings.get('dump_enabled') !== 'no' && settings.get('lru_crawler') !== 'no';
  if (isOn) return ok('listing of keys', 'offered');
  return {
    level: 'warn',
    check: 'listing of keys',
    found: 'turned off (-X, or -o no_lru_crawler)',
    remedy: 'start it without that (the administrator), if keys are to be listed',
  };
}

function numberOf(stats: Stats, name: string): number {
  return Number(stats.get(name) ?? 0);
}

function ok(check: string, found: string): Finding {
  return { level: 'ok', check, found };
}
