/**
 * Kills the worker, PostgreSQL and Redis at random, again and again, while writers write and readers look:
 * `npm run kills -- --cycles 200 [--seed N] [--targets redis,postgres,sqlite,duckdb]`. Prints what was counted, and
 * ends with 1 if anything was lost, doubled, moved back or wrongly called fresh.
 */
import { parseArgs } from 'node:util';
import { startPostgres, startRedis } from '../../servers/index.ts';
import { runStory } from './kills-run.ts';
import { noCounts, type Counts } from './kills-writer.ts';
import { targetNames, type TargetName } from './server-app.ts';

/** Cycles of one application; the next begins with databases of its own. */
const STORY_CYCLES = 10;

export interface KillsOptions {
  readonly cycles: number;
  readonly seed: string;
  readonly targets: readonly TargetName[];
  readonly say: (line: string) => void;
  readonly counts: Counts;
  /** How often each was killed. */
  readonly kills: Map<string, number>;
}

/** Runs the cycles on servers of its own, and counts. Throws if something does not come home at all. */
export async function runKills(options: KillsOptions): Promise<void> {
  const { cycles, say, counts } = options;
  await using postgres = await startPostgres();
  await using redis = await startRedis();
  for (let done = 0; done < cycles; done += STORY_CYCLES) {
    const number = done / STORY_CYCLES;
    const part = Math.min(STORY_CYCLES, cycles - done);
    const targets = targetsOf(number, options.targets);
    await runStory({ ...options, number, cycles: part, targets, postgres, redis });
    say(
      `${done + part} of ${cycles} cycles, ${counts.writes} writes, into ${targets.join(' and ')}`,
    );
  }
}

/** Two for each story, in turn: more would keep the machine busy with themselves. */
function targetsOf(story: number, all: readonly TargetName[]): readonly TargetName[] {
  const [first, ...others] = all;
  const other = others[story % Math.max(1, others.length)];
  return [first, other].filter((name) => name !== undefined);
}

function parseTargets(text: string | undefined): readonly TargetName[] {
  if (text === undefined) return targetNames;
  return text.split(',').map((name) => {
    const found = targetNames.find((target) => target === name);
    if (found === undefined)
      throw new Error(`--targets takes ${targetNames.join(', ')}, not '${name}'`);
    return found;
  });
}

async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cycles: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      targets: { type: 'string' },
    },
  });
  const cycles = Number(values.cycles);
  if (!Number.isSafeInteger(cycles) || cycles < 1)
    throw new Error(`--cycles takes a whole number, not '${values.cycles}'`);
  const { seed } = values;
  console.log(`seed ${seed}`);
  const counts = noCounts();
  const kills = new Map<string, number>();
  const targets = parseTargets(values.targets);
  const say = (line: string): void => console.log(line);
  const failure: unknown = await runKills({ cycles, seed, targets, say, counts, kills }).then(
    () => undefined,
    (error: unknown) => error,
  );
  for (const line of counts.seen) console.log(line);
  if (failure !== undefined) console.error(failure);
  const { lost, doubled, movedBack, wrongFresh, lied } = counts;
  const killed = [...kills].map(([what, count]) => `${what} ${count}`).join(', ');
  console.log(
    [
      `${cycles} cycles (${killed}), ${counts.writes} writes, ${counts.freshReads} fresh reads, ${counts.looks} looks`,
      `lost ${lost}, doubled ${doubled}, moved back ${movedBack}, wrong fresh reads ${wrongFresh}, wrong answers ${lied}`,
      `seed ${seed}`,
    ].join('\n'),
  );
  process.exitCode =
    failure === undefined && lost + doubled + movedBack + wrongFresh + lied === 0 ? 0 : 1;
}

if (import.meta.main) await main(process.argv.slice(2));
