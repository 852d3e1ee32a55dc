import { writeSync } from 'node:fs';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import type { LogRecord } from '../../src/ports/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { postgresLog } from '../../src/stores/postgres/log/index.ts';

/*
 * Appends numbered records to the log of a lane until it is killed, and writes the log offset of each acknowledged
 * append to standard output: `node postgres-log-appender.ts URL EPOCH`.
 */
const [, , url = '', epoch = '1'] = process.argv;
const context = { name: 'numbers', clock: systemClock, random: systemRandom };
const log = await postgresLog({ url, lane: 'numbers' }).open(context);
armFromEnvironment(process.env);
const appender = await log.openAppender(Number(epoch));
let number = appender.tail.next;
writeSync(1, `${number}\n`);

for (let round = 0; ; round += 1) {
  const calls = Array.from({ length: 1 + (round % 4) }, () => {
    const records = Array.from({ length: 2 + (round % 3) }, () => numbered(number++));
    return appender.append([...records, { ...numbered(number++), kind: 'commit' }]);
  });
  for (const { next } of await Promise.all(calls)) writeSync(1, `${next}\n`);
  if (round % 8 === 7) await log.release(number - 300);
}

function numbered(value: number): LogRecord {
  return { kind: 'change', epoch: 0, offset: value, ordinal: 0, payload: `{"number":${value}}` };
}
