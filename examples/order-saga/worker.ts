import { once } from 'node:events';
import { flushCompileCache } from 'node:module';
import { openShop, type Place } from './app.ts';
import { someFaults, type Faults } from './faults.ts';
import type { Patience } from './saga.ts';
import { plannedFaults, type PlannedFault } from './planned-faults.ts';

// The process that runs the sagas: `node worker.ts JSON`. It may be killed at any moment; the next one goes on.

/** What a worker is told. */
export interface WorkerOptions {
  readonly place: Place;
  readonly patience?: Patience;
  /** The share of attempts that go wrong, and by which seed. */
  readonly weather?: { readonly rate: number; readonly seed: number };
  /** Instead: what goes wrong, one by one. */
  readonly planned?: readonly PlannedFault[];
}

if (import.meta.main) {
  const options = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions;
  const { place, patience, weather, planned } = options;
  const faults: Faults | undefined =
    planned === undefined
      ? weather && someFaults(weather.rate, weather.seed)
      : plannedFaults(planned);
  const shop = await openShop(place, {
    run: true,
    ...(faults === undefined ? {} : { faults }),
    ...(patience === undefined ? {} : { patience }),
  });
  process.stdout.write('ready\n');
  // A process that is killed does not leave what it has compiled.
  flushCompileCache();
  // Until whoever started it says so, or is gone.
  process.stdin.resume();
  await once(process.stdin, 'end');
  await shop[Symbol.asyncDispose]();
  process.exit(0);
}
