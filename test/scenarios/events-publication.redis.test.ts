import { describe, expect, test } from 'vitest';
import { publishEvents, type Topic } from 'tallystick/events';
import { memory } from 'tallystick/memory';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { redisStream, type RedisStream } from '../../src/stores/redis/log/index.ts';
import { freshPrefix, freshRedis, hasRedis } from '../support/servers.ts';

const context = { name: 'bank', clock: systemClock, random: systemRandom };

interface Published {
  readonly position: number;
  readonly stream: string;
  readonly version: number;
}

/** Reads until `count` events were seen, as a consumer does: what is at or below the last position was seen before. */
async function consume(
  stream: RedisStream,
  count: number,
): Promise<{ readonly seen: readonly Published[]; readonly again: number }> {
  const group = await stream.group('readers');
  const signal = AbortSignal.timeout(20_000);
  const seen: Published[] = [];
  let again = 0;
  while (seen.length < count) {
    const messages = await group.read({ consumer: 'one', messagesMax: 100, signal });
    for (const { value } of messages) {
      // Numbers of a message are whole numbers without end.
      const event = value as unknown as { position: bigint; stream: string; version: bigint };
      const position = Number(event.position);
      if (position <= (seen.at(-1)?.position ?? 0)) again += 1;
      else seen.push({ position, stream: event.stream, version: Number(event.version) });
    }
    await group.ack(messages.map(({ id }) => id));
    if (signal.aborted) throw new Error(`${seen.length} of ${count} events came`);
  }
  return { seen, again };
}

describe.skipIf(!hasRedis)('events that are published to a stream of Redis', () => {
  test('are there each in its order, over a publisher that died, two at once, and a stream that is full', async () => {
    await using bank = await memory({ capture: 'events' }).open(context);
    await using fresh = await freshRedis();
    const stream = fresh.prefix + freshPrefix();
    // Smaller than what is published: whoever publishes has to wait for the reader.
    await using topic = await redisStream({ url: fresh.url, stream, lengthMax: 150 }).open(context);
    await topic.group('readers');
    const append = async (from: number, to: number): Promise<void> => {
      for (let n = from; n < to; n += 1)
        await bank.events.append(`account-${n % 7}`, [{ type: 'Counted', data: { n } }]);
    };
    await append(0, 200);

    // It dies after it has published, and before it has kept its place.
    const killed = new AbortController();
    const dies: Topic = {
      publish: async (messages) => {
        await topic.publish(messages);
        killed.abort();
        throw new Error('killed');
      },
    };
    const small = { name: 'p', places: bank.keyValue, types: ['Counted'], messagesMax: 40 };
    await publishEvents(bank.events, dies, { ...small, signal: killed.signal });
    expect(await bank.keyValue.get('publication/p')).toBeUndefined();

    const stop = new AbortController();
    const publishers = [1, 2].map(() =>
      publishEvents(bank.events, topic, { ...small, signal: stop.signal }),
    );
    const reading = consume(topic, 500);
    await append(200, 500);
    const { seen, again } = await reading;
    stop.abort();
    await Promise.all(publishers);

    expect(again).toBeGreaterThanOrEqual(40);
    expect(seen.map(({ position }) => position)).toEqual(
      Array.from({ length: 500 }, (_, n) => n + 1),
    );
    const versions = new Map<string, number>();
    for (const { stream: name, version } of seen) {
      expect(version).toBe((versions.get(name) ?? 0) + 1);
      versions.set(name, version);
    }
  }, 40_000);
});

test('a store that went back behind what was published is HISTORY_LOST', async () => {
  await using bank = await memory({ capture: 'events' }).open(context);
  const { signal } = new AbortController();
  await bank.events.append('s', [{ id: 'other', type: 'T', data: 1 }]);
  await bank.keyValue.set('publication/p', { position: 1, id: 'one' });
  const topic: Topic = { publish: () => Promise.reject(new Error('not to be called')) };
  const options = { name: 'p', places: bank.keyValue, signal };
  await expect(publishEvents(bank.events, topic, options)).rejects.toMatchObject({
    code: 'HISTORY_LOST',
  });
  await bank.keyValue.set('publication/p', { position: 9, id: 'one' });
  await expect(publishEvents(bank.events, topic, options)).rejects.toMatchObject({
    code: 'HISTORY_LOST',
  });
});
