import { writeSync } from 'node:fs';
import type { EventStore, NewEvent } from '../../src/ports/events.ts';
import type { Source } from '../../src/ports/source.ts';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { postgres } from '../../src/stores/postgres/index.ts';
import { sqlite } from '../../src/stores/sqlite/index.ts';

/*
 * Appends numbered events until it is killed, and goes on at the number of events that are there: what a killed run
 * committed without an answer must not be given out again, and is an error if it is. Writes the greatest number that is
 * acknowledged, with all before it: `node events-appender.ts ENGINE PLACE`.
 */
const [, , engine = '', place = ''] = process.argv;
const context = { name: 'numbers', clock: systemClock, random: systemRandom };
const store =
  engine === 'sqlite'
    ? await sqlite({ file: place, capture: 'events' }).open(context)
    : await postgres({ url: place, capture: 'events' }).open(context);
const events: EventStore = store.events;
const source: Source<unknown> = store.source;
let number = await events.head();
armFromEnvironment(process.env);
writeSync(1, `${number}\n`);

for (let round = 0; ; round += 1) {
  // Together they are one commit: nothing of a round is there without all before it.
  const calls = Array.from({ length: 1 + (round % 4) }, async () => {
    const batch = Array.from({ length: 1 + (round % 3) }, () => numbered((number += 1)));
    await events.append(streamOf(batch), batch);
  });
  await Promise.all(calls);
  const inside = [numbered((number += 1)), numbered((number += 1))];
  await source.write((tx) =>
    events.appendIn(
      tx,
      inside.map((event) => ({ stream: streamOf([event]), events: [event] })),
    ),
  );
  writeSync(1, `${number}\n`);
}

function numbered(value: number): NewEvent {
  return { id: `n-${value}`, type: 'Numbered', data: { value } };
}

function streamOf([event]: readonly NewEvent[]): string {
  return `s-${Number(event?.id?.at(-1)) % 2}`;
}
