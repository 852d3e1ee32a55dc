import { writeSync } from 'node:fs';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { redisStream } from '../../src/stores/redis/log/index.ts';

/*
 * Reads messages of a group, handles (prints) and acknowledges all but the last of each read, until it is killed:
 * `node redis-stream-consumer.ts URL STREAM GROUP CONSUMER`.
 */
const [, , url = '', name = '', group = '', consumer = ''] = process.argv;
const context = { name: 'shop', clock: systemClock, random: systemRandom };
const stream = await redisStream({ url, stream: name }).open(context);
const consumers = await stream.group(group);
const { signal } = new AbortController();

for (;;) {
  const messages = await consumers.read({ consumer, messagesMax: 7, signal });
  for (const { key } of messages) writeSync(1, `${key}\n`);
  await consumers.ack(messages.slice(0, -1).map(({ id }) => id));
}
