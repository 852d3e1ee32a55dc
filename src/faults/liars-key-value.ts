import type { KeyValue, KeyValueEntry } from '../ports/key-value.ts';
import type { Liar } from './liars-shape.ts';

/** Key-value stores that each break one promise of the port. */
export const keyValueLiars: Readonly<Record<string, Liar<KeyValue>>> = {
  servesExpired: {
    lie: 'serves an entry until somebody sweeps it',
    caughtBy: 'KV-030',
    wrap: (keyValue) => {
      const seen = new Map<string, KeyValueEntry>();
      return {
        ...delegate(keyValue),
        get: async (key) => {
          const entry = (await keyValue.get(key)) ?? seen.get(key);
          if (entry !== undefined) seen.set(key, entry);
          return entry;
        },
      };
    },
  },
  ignoresTheCondition: {
    lie: 'writes over a version that the caller did not expect',
    caughtBy: 'KV-021',
    wrap: (keyValue) => ({
      ...delegate(keyValue),
      set: (key, value, { ttlMs } = {}) =>
        keyValue.set(key, value, ttlMs === undefined ? {} : { ttlMs }),
    }),
  },
  comparesTooEarly: {
    lie: 'looks at the version in one step and writes in another',
    caughtBy: 'KV-023',
    wrap: (keyValue) => ({
      ...delegate(keyValue),
      set: async (key, value, { ttlMs, ifVersion } = {}) => {
        const present = (await keyValue.get(key))?.version ?? 0;
        if (ifVersion !== undefined && ifVersion !== present)
          return keyValue.set(key, value, { ifVersion });
        return keyValue.set(key, value, ttlMs === undefined ? {} : { ttlMs });
      },
    }),
  },
  forgetsTheTtl: {
    lie: 'keeps an entry for ever that was given a time to live',
    caughtBy: 'KV-030',
    wrap: (keyValue) => ({
      ...delegate(keyValue),
      set: (key, value, { ifVersion } = {}) =>
        keyValue.set(key, value, ifVersion === undefined ? {} : { ifVersion }),
    }),
  },
};

function delegate(keyValue: KeyValue): KeyValue {
  return {
    supports: keyValue.supports,
    get: (key) => keyValue.get(key),
    getMany: (keys) => keyValue.getMany(keys),
    set: (key, value, options) => keyValue.set(key, value, options),
    delete: (key) => keyValue.delete(key),
    keys: (prefix, options) => keyValue.keys(prefix, options),
    sweep: (limit) => keyValue.sweep(limit),
  };
}
