import { parseArgs } from 'node:util';
import { crashPoints, patternCrashPoints, serverCrashPoints } from '../observe/point.ts';
import { errorText } from '../core/errors.ts';
import { runSchedule, type Outcome } from './scenario.ts';

const PROGRESS_EVERY_MS = 5_000;

interface Asked {
  readonly from: number;
  readonly seeds: number;
  readonly minutes: number | undefined;
  readonly verbose: boolean;
}

function asked(args: readonly string[]): Asked {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string' },
      from: { type: 'string' },
      seed: { type: 'string' },
      minutes: { type: 'string' },
      verbose: { type: 'boolean' },
    },
  });
  const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
  const seeds =
    values.seed === undefined
      ? Number(values.seeds ?? (minutes === undefined ? 500 : Infinity))
      : 1;
  return {
    from: Number(values.seed ?? values.from ?? 1),
    seeds,
    minutes,
    verbose: values.verbose ?? false,
  };
}

function report(failed: Outcome): void {
  const { seed, violation, events } = failed;
  for (const event of events) console.log(event);
  if (violation !== undefined && violation.name !== 'Violation') console.log(violation.stack);
  console.log(`replay: npm run simulate -- --seed ${seed}   violated: ${errorText(violation)}`);
}

async function main(args: readonly string[]): Promise<void> {
  const { from, seeds, minutes, verbose } = asked(args);
  const startedAtMs = performance.now();
  const hits = new Map<string, number>();
  let saidAtMs = startedAtMs;
  let run = 0;
  let virtualMs = 0;
  for (; run < seeds; run += 1) {
    const nowMs = performance.now();
    if (minutes !== undefined && nowMs - startedAtMs > minutes * 60_000) break;
    if (nowMs - saidAtMs > PROGRESS_EVERY_MS) {
      saidAtMs = nowMs;
      console.log(`${run} schedules, ${perSecond(run, nowMs - startedAtMs)} per second`);
    }
    const seed = from + run;
    const outcome = await runSchedule({
      seed,
      ...(verbose ? { verbose: (line: string) => console.log(line) } : {}),
    });
    virtualMs += outcome.elapsedMs;
    for (const [what, count] of outcome.hits) hits.set(what, (hits.get(what) ?? 0) + count);
    if (outcome.violation === undefined) continue;
    report(outcome);
    process.exitCode = 1;
    return;
  }
  for (const what of [...hits.keys()].toSorted())
    console.log(`${String(hits.get(what)).padStart(9)}  ${what}`);
  const never = crashPoints.filter(
    (point) =>
      !serverCrashPoints.includes(point) &&
      !patternCrashPoints.includes(point) &&
      !hits.has(`point ${point}`),
  );
  if (never.length > 0) console.log(`never crashed at: ${never.join(', ')}`);
  const tookMs = performance.now() - startedAtMs;
  console.log(
    `${run} schedules held, ${perSecond(run, tookMs)} per second, ${Math.round(virtualMs / 60_000)} virtual minutes`,
  );
}

function perSecond(count: number, ms: number): string {
  return (count / (ms / 1_000)).toFixed(1);
}

await main(process.argv.slice(2));
