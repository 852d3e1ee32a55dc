import type { Diagnose, Finding, StoreUse } from '../../ports/diagnose.ts';
import { EVICTION_REMEDY, readEviction, takesAnyKey, type EvictionState } from './eviction.ts';
import { readConfig, readInfo, type Info } from './info.ts';
import type { RedisParts } from './parts.ts';
import { persistenceOf } from './persistence.ts';

/** The oldest server whose scripts say what they need before they run. */
const MAJOR_MIN = 7;
/** Of its memory; beyond, a burst fills it. */
const MEMORY_WARN = 0.9;

/** Judges what {@link readVitals} shows. Throws STORE_UNREACHABLE. */
export function openDiagnose({ link }: RedisParts): Diagnose {
  return async (use) => {
    const nodes = await readInfo(link);
    const settings = await readConfig(link, ['save', 'appendfsync', 'min-replicas-to-write']);
    const evictions = await readEviction(link);
    return nodes.flatMap(({ node, info }) => {
      const config = settings.find((one) => one.node === node)?.config ?? new Map<string, string>();
      const eviction = evictions.find((one) => one.node === node);
      const findings = [
        version(info),
        role(info, use),
        ...(eviction === undefined ? [] : [policy(eviction, use)]),
        memory(info),
        persistence(info, config),
        lastSave(info),
        replicas(info, config),
      ];
      return link.isCluster
        ? findings.map((finding) => ({ ...finding, check: `${node} ${finding.check}` }))
        : findings;
    });
  };
}

function version(info: Info): Finding {
  const found = info.get('redis_version') ?? 'unknown';
  if (Number.parseInt(found, 10) >= MAJOR_MIN) return ok('version', found);
  return {
    level: 'fail',
    check: 'version',
    found,
    remedy: 'upgrade to Redis 7 or later, or Valkey: the sink’s scripts are refused by older ones',
  };
}

function role(info: Info, { targets }: StoreUse): Finding {
  if (info.get('role') !== 'slave') return ok('role', 'master');
  const master = `${info.get('master_host')}:${info.get('master_port')}`;
  return {
    level: targets.length > 0 ? 'fail' : 'warn',
    check: 'role',
    found: `a replica of ${master}, which takes no writes`,
    remedy: `give the address of the master, ${master}, in the url of the store`,
  };
}

function policy(state: EvictionState, { targets }: StoreUse): Finding {
  const check = 'maxmemory-policy';
  const { policy: name, maxmemory } = state;
  if (takesAnyKey(state))
    return {
      level: maxmemory > 0 && targets.length > 0 ? 'fail' : 'warn',
      check,
      found:
        maxmemory > 0
          ? `${name}: when memory is full, any key goes, the fences that refuse older writes, too`
          : `${name}, without effect as long as maxmemory is 0`,
      remedy: `${EVICTION_REMEDY} (the administrator; and in redis.conf)`,
    };
  if (!name.startsWith('volatile-')) return ok(check, name);
  return {
    level: 'warn',
    check,
    found: `${name}: rows with a time to live may go before it is over; the fences stay`,
    remedy: `${EVICTION_REMEDY} (the administrator), if rows must stay for as long as they were given`,
  };
}

function memory(info: Info): Finding {
  const [used, max] = [Number(info.get('used_memory') ?? 0), Number(info.get('maxmemory') ?? 0)];
  if (max === 0) return ok('memory', `${used} bytes used, no bound`);
  const found = `${used} of ${max} bytes used, ${info.get('evicted_keys') ?? '0'} keys evicted`;
  if (used < max * MEMORY_WARN) return ok('memory', found);
  return {
    level: 'warn',
    check: 'memory',
    found,
    remedy:
      'CONFIG SET maxmemory with more (the administrator): at the bound writes are refused and the flow waits',
  };
}

function persistence(info: Info, config: Info): Finding {
  const { mode, loses, isNone } = persistenceOf(info, config);
  const found = `${mode}; loses ${loses}`;
  if (!isNone) return ok('persistence', found);
  return {
    level: 'warn',
    check: 'persistence',
    found,
    remedy:
      'CONFIG SET appendonly yes (the administrator; and in redis.conf); else targets are filled anew after each restart',
  };
}

function lastSave(info: Info): Finding {
  const bad = [
    'rdb_last_bgsave_status',
    'aof_last_write_status',
    'aof_last_bgrewrite_status',
  ].filter((name) => (info.get(name) ?? 'ok') !== 'ok');
  if (bad.length === 0) return ok('last save', 'succeeded');
  return {
    level: 'fail',
    check: 'last save',
    found: `${bad.join(', ')}: err`,
    remedy:
      'free space and check permissions under CONFIG GET dir; the server’s log has the reason (the administrator)',
  };
}

function replicas(info: Info, config: Info): Finding {
  const connected = Number(info.get('connected_slaves') ?? 0);
  const needed = config.get('min-replicas-to-write') ?? '0';
  const found = `${connected} connected, ${needed} needed for a write`;
  if (connected === 0 || needed !== '0') return ok('replicas', found);
  return {
    level: 'warn',
    check: 'replicas',
    found: `${found}: a failover may lose writes that were answered; flows notice, and apply them again`,
    remedy:
      'CONFIG SET min-replicas-to-write 1 (the administrator) bounds what can be lost by min-replicas-max-lag',
  };
}

function ok(check: string, found: string): Finding {
  return { level: 'ok', check, found };
}
