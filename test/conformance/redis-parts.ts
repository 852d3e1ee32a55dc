import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { loadDriver, type RedisAddress } from '../../src/stores/redis/driver.ts';
import { openLink } from '../../src/stores/redis/link.ts';
import type { RedisParts } from '../../src/stores/redis/parts.ts';
import { freshRedis } from '../support/servers.ts';

/** What the ports of a Redis are made of, on keys of their own. */
export interface OpenedParts extends AsyncDisposable {
  readonly parts: RedisParts;
  /** Drops the connection and makes another one. */
  reconnect(): Promise<void>;
}

/** On the Redis that all tests share; disposing removes what was written. */
export async function redisParts(): Promise<OpenedParts> {
  const fresh = await freshRedis();
  const opened = await partsAt({ kind: 'server', url: fresh.url }, fresh.prefix);
  return {
    get parts() {
      return opened.parts;
    },
    reconnect: () => opened.reconnect(),
    async [Symbol.asyncDispose]() {
      await opened[Symbol.asyncDispose]();
      await fresh[Symbol.asyncDispose]();
    },
  };
}

export async function partsAt(address: RedisAddress, prefix: string): Promise<OpenedParts> {
  const driver = await loadDriver();
  const where = 'store cache';
  const connect: RedisParts['connect'] = () =>
    openLink({ driver, address, clock: systemClock, where });
  let link = await connect();
  return {
    get parts() {
      return {
        link,
        connect,
        driver,
        address,
        prefix,
        clock: systemClock,
        random: systemRandom,
        where,
      };
    },
    async reconnect() {
      await link.close();
      link = await connect();
    },
    [Symbol.asyncDispose]: () => link.close(),
  };
}

/** Lets every entry expire so much earlier, and what has then expired is gone. */
export async function ageEntries(opened: OpenedParts, delayMs: number): Promise<void> {
  const { link, prefix } = opened.parts;
  for (const { reply } of await link.sendEach(['KEYS', `${prefix}_kv:*`]))
    for (const name of reply as readonly string[]) {
      const atMs = (await link.send(name, ['PEXPIRETIME', name])) as number;
      if (atMs > 0) await link.send(name, ['PEXPIREAT', name, String(atMs - delayMs)]);
    }
}
