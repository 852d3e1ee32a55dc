import { TallyError } from '../../core/errors.ts';
import { readConfig, readInfo, type Info } from './info.ts';
import type { RedisLink } from './link.ts';

/**
 * `refuse`: a server that may evict any key is not written to. `accept`: it is; a fence that was evicted lets an
 * older write overwrite a newer one, and a row that was evicted stays away until it is written again.
 */
export type Eviction = 'refuse' | 'accept';

/** How a server evicts; the coordinator's own keys have no time to live, so that `volatile-*` never takes them. */
export interface EvictionState {
  readonly node: string;
  readonly policy: string;
  readonly maxmemory: number;
}

/** What a server says of its eviction: by its settings, or by INFO where CONFIG is forbidden. */
export async function readEviction(link: RedisLink): Promise<readonly EvictionState[]> {
  const settings = await readConfig(link, ['maxmemory-policy', 'maxmemory']);
  if (settings.length > 0)
    return settings.map(({ node, config }) => stateOf(node, config, 'maxmemory-policy'));
  return (await readInfo(link)).map(({ node, info }) => stateOf(node, info, 'maxmemory_policy'));
}

/** Whether a policy takes keys that have no time to live. */
export function takesAnyKey({ policy }: EvictionState): boolean {
  return policy.startsWith('allkeys-');
}

/** Throws CONFIG_INVALID for a server that may evict the fences. */
export async function checkEviction(
  link: RedisLink,
  eviction: Eviction,
  where: string,
): Promise<void> {
  if (eviction === 'accept') return;
  const states = await readEviction(link);
  const bad = states.find((state) => takesAnyKey(state) && state.maxmemory > 0);
  if (bad === undefined) return;
  throw new TallyError('CONFIG_INVALID', {
    what: `Redis evicts any key when its memory is full (maxmemory-policy ${bad.policy}): the fences that refuse older writes, too`,
    where: bad.node === 'server' ? where : `${where}, node ${bad.node}`,
    mend: `run ${EVICTION_REMEDY} and keep it in redis.conf; or open the store with eviction: 'accept' and lose that protection`,
    details: { policy: bad.policy, maxmemory: bad.maxmemory, node: bad.node },
  });
}

/** What mends it. */
export const EVICTION_REMEDY: string = 'CONFIG SET maxmemory-policy noeviction';

function stateOf(node: string, said: Info, policy: string): EvictionState {
  return {
    node,
    policy: said.get(policy) ?? 'noeviction',
    maxmemory: Number(said.get('maxmemory') ?? '0'),
  };
}
