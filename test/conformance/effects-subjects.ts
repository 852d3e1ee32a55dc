import type { EffectsSubject } from '../../src/conformance/effects.ts';
import { encodeValue } from '../../src/core/codec.ts';
import type { Value } from '../../src/core/row.ts';
import { entryEffects, objectEffects } from '../../src/patterns/effects/index.ts';
import type { KeyValue } from '../../src/ports/key-value.ts';
import type { Objects } from '../../src/ports/objects.ts';

/** A store that can be dropped and opened again, whose port is asked for anew each time. */
interface Reopened<Port> {
  readonly port: () => Port;
  readonly reopen: () => Promise<void>;
  readonly dispose: () => Promise<void>;
}

const RETENTION_MS = 30 * 24 * 3_600_000;

function amountOf(result: Value): number {
  return (result as { readonly amount: number }).amount;
}

/** The effects of entries, over a key-value store. */
export function entrySubject({ port, reopen, dispose }: Reopened<KeyValue>): EffectsSubject {
  const clock = { nowMs: () => 1_700_000_000_000 };
  const effects = () => entryEffects(port(), { clock });
  return {
    get effects() {
      return effects();
    },
    nowMs: clock.nowMs,
    add: (entry, amount, tag) => ({
      entry,
      change: (value: Value | undefined) => ({
        value: Number(value ?? 0) + amount,
        result: { amount, tag },
      }),
    }),
    fail: (entry) => ({
      entry,
      change: () => {
        throw new Error('the work fails');
      },
    }),
    takeBack: (entry) => ({
      entry,
      change: (value: Value | undefined, result: Value) => Number(value) - amountOf(result),
    }),
    failBack: (entry) => ({
      entry,
      change: () => {
        throw new Error('the undo fails');
      },
    }),
    balance: async (entry) => Number((await effects().get(entry)) ?? 0),
    place: (entry) => entry,
    forget: (beforeMs, limit) =>
      effects().prune({ beforeMs, ...(limit === undefined ? {} : { limit }) }),
    expireLocks: async () => undefined,
    reopen,
    dispose,
  };
}

/** The effects of objects, over a store of objects; an account is an object that holds its amount. */
export function objectSubject({ port, reopen, dispose }: Reopened<Objects>): EffectsSubject {
  let nowMs = 1_700_000_000_000;
  const clock = { nowMs: () => nowMs };
  const effects = () => objectEffects(port(), { clock, marginMs: 0 });
  const body = (amount: number): Uint8Array => Buffer.from(String(amount));
  return {
    get effects() {
      return effects();
    },
    nowMs: clock.nowMs,
    add: (object, amount, tag) => ({ object, body: body(amount), result: { amount, tag } }),
    fail: (object) => ({
      object,
      body: async function* () {
        yield Buffer.from('5');
        await Promise.reject(new Error('the body fails'));
      },
    }),
    takeBack: (object) => ({ object }),
    failBack: () => undefined,
    async balance(object) {
      const found = await effects().get(object);
      if (found === undefined) return 0;
      let text = '';
      for await (const chunk of found.body) text += Buffer.from(chunk).toString();
      return Number(text);
    },
    place: (object) => object,
    async forget(beforeMs, limit) {
      // Only time lets the marker of an object go.
      nowMs = Math.max(nowMs, beforeMs + RETENTION_MS);
      return effects().prune(limit === undefined ? {} : { limit });
    },
    expireLocks: async () => undefined,
    reopen,
    dispose,
  };
}

/** Lua of accounts: plain numbers at keys that start with `root`. */
export function luaWorks(
  root: string,
): Pick<EffectsSubject, 'add' | 'fail' | 'takeBack' | 'failBack'> {
  const keys = (account: string): readonly [string] => [root + account];
  return {
    add: (account, amount, tag) => ({
      keys: keys(account),
      args: [String(amount), encodeValue({ amount, tag })],
      lua: `redis.call('INCRBY', KEYS[1], ARGV[1])\nreturn ARGV[2]`,
    }),
    fail: (account) => ({
      keys: keys(account),
      lua: `if tonumber(redis.call('GET', KEYS[1]) or 0) < 100 then return nil, 'too little' end`,
    }),
    takeBack: (account) => ({
      keys: keys(account),
      lua: `redis.call('DECRBY', KEYS[1], cjson.decode(RESULT).amount)`,
    }),
    failBack: (account) => ({
      keys: keys(account),
      lua: `redis.call('DECRBY', KEYS[1], 1)\nredis.call('LPUSH', KEYS[1], 1)`,
    }),
  };
}
