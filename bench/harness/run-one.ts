import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchResult } from '../bench.ts';
import { benches } from './catalogue.ts';
import { environment, loadNow, type Environment } from './environment.ts';

/** What a benchmark says when it has run; also what a file in results/ holds. */
export interface Outcome {
  readonly name: string;
  readonly about: string;
  readonly quick: boolean;
  readonly seconds: number;
  readonly environment: Environment;
  readonly result: BenchResult;
}

// A process of its own for each benchmark: what one leaves behind in memory is not measured in the next.
const [name = '', mode] = process.argv.slice(2);
const listed = benches[name];
if (listed === undefined) throw new Error(`there is no benchmark ${name}`);
const dir = await mkdtemp(join(tmpdir(), `tallystick-bench-${name}-`));
try {
  const before = loadNow();
  const bench = await listed.load();
  const quick = mode === 'quick';
  const startedMs = performance.now();
  const result = await bench.run({ quick, dir });
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
  const outcome: Outcome = {
    name,
    about: bench.about,
    quick,
    seconds,
    environment: await environment(dir, before),
    result,
  };
  process.send?.(outcome);
} finally {
  await rm(dir, { recursive: true, force: true });
}
