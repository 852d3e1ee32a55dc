import { parseArgs } from 'node:util';
import { runSchedule } from './schedule.ts';

const { values } = parseArgs({
  options: { seeds: { type: 'string' }, from: { type: 'string' }, seed: { type: 'string' } },
});
const from = Number(values.seed ?? values.from ?? 1);
const seeds = values.seed === undefined ? Number(values.seeds ?? 10_000) : 1;
const startedAtMs = performance.now();
const ends: Record<string, number> = {};
let [failed, crashes, virtualMs] = [0, 0, 0];
for (let seed = from; seed < from + seeds; seed += 1) {
  const outcome = await runSchedule(seed);
  crashes += outcome.crashes;
  virtualMs += outcome.virtualMs;
  for (const [end, count] of Object.entries(outcome.ends)) ends[end] = (ends[end] ?? 0) + count;
  if (outcome.violations.length === 0) continue;
  failed += 1;
  if (values.seed !== undefined) console.log(outcome.events.join('\n'));
  for (const violation of outcome.violations) console.log(`seed ${seed}: ${violation}`);
  console.log(`replay: npm run simulate:sagas -- --seed ${seed}`);
}
const seconds = (performance.now() - startedAtMs) / 1_000;
console.log(
  `${seeds} schedules, ${failed} with violations; ${crashes} processes died; sagas ${JSON.stringify(ends)}; ` +
    `${Math.round(virtualMs / 3_600_000)} hours of virtual time in ${Math.round(seconds)} s`,
);
process.exitCode = failed === 0 ? 0 : 1;
