import type { EffectsSubject } from '../../src/conformance/effects.ts';
import { effectsSupports, openEffects } from '../../src/stores/redis/effects/effects.ts';
import { luaWorks } from './effects-subjects.ts';
import type { OpenedParts } from './redis-parts.ts';

const options = { retentionMs: effectsSupports.retentionMs, eviction: 'refuse' } as const;

/**
 * The effects of a Redis or of a cluster; disposing closes the parts. In a cluster a lock stands by the key of its work, so
 * that all accounts are of one slot, as those of an application that locks over several are.
 */
export function redisEffectsSubject(opened: OpenedParts): EffectsSubject {
  const { prefix } = opened.parts;
  const accounts = `${prefix}{accounts}:`;
  let effects = openEffects(opened.parts, options);
  const send = (...args: readonly string[]): Promise<unknown> =>
    opened.parts.link.send(args[1], args);
  return {
    get effects() {
      return effects;
    },
    nowMs: () => Date.now(),
    ...luaWorks(accounts),
    balance: async (account) => Number((await send('GET', accounts + account)) ?? 0),
    place: (account) => accounts + account,
    forget: (beforeMs, limit) =>
      effects.prune({ beforeMs, ...(limit === undefined ? {} : { limit }) }),
    async expireLocks() {
      for (const { reply } of await opened.parts.link.sendEach(['KEYS', `${prefix}_effect-lock:*`]))
        // In the past: Redis lets it expire at once.
        for (const name of reply as readonly string[]) await send('PEXPIREAT', name, '1');
    },
    async reopen() {
      await opened.reconnect();
      effects = openEffects(opened.parts, options);
    },
    async dispose() {
      await opened[Symbol.asyncDispose]();
    },
  };
}
