import { mkdir } from 'node:fs/promises';
import { TallyError } from '../core/errors.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Store } from '../ports/store.ts';
import { systemClock } from '../runtime/clock.ts';
import { isDeadProcess, ownProcess } from '../runtime/owner.ts';
import { systemRandom } from '../runtime/random.ts';
import { noEvidence, type Evidence } from '../core/evidence.ts';
import { cacheEnds, openCaches } from './caches.ts';
import type { OpenedCaches, Stores, TallyApp } from './definition.ts';
import { openLanes, openLedger, sinkOf } from './lanes.ts';
import { OpenApp } from './open-app.ts';

export interface OpenOptions {
  /** Whether this process runs the captures and flows. Default true; a web server beside a worker says false. */
  readonly run?: boolean;
  /** The runtime's seams; for tests and the simulator. */
  readonly clock?: Clock;
  readonly random?: Random;
  readonly owner?: string;
  readonly isDead?: (owner: string) => boolean;
}

/**
 * Opens the stores, the ledger, the caches and the logs of an application, checks the plan against what the stores can
 * do, and (unless told not to) runs its flows. Throws what a store cannot be opened with, TABLE_UNKNOWN,
 * CAPABILITY_MISSING; whatever was opened by then is closed.
 */
export async function open<Declared extends Stores, Kept extends OpenedCaches = OpenedCaches>(
  app: TallyApp<Declared, Kept>,
  options: OpenOptions = {},
): Promise<OpenApp<Declared, Kept>> {
  const {
    clock = systemClock,
    random = systemRandom,
    owner = ownProcess(),
    isDead = isDeadProcess,
    run = true,
  } = options;
  await using opened = new AsyncDisposableStack();
  const stores: Record<string, Store> = {};
  // Only what is embedded lives in the folder: nothing is left behind where all of it is elsewhere.
  if (app.ledger === undefined || app.log === undefined) await makeFolder(app.dir);
  for (const [name, definition] of Object.entries(app.stores)) {
    stores[name] = opened.use(await definition.open({ name, clock, random }));
  }
  const context = { name: app.name, clock, random };
  const ledger = opened.use(await openLedger(app, context));
  let heads = (): Evidence => noEvidence;
  const caches = await openCaches(app, stores, () => heads());
  for (const cache of Object.values(caches)) opened.use(cache);
  const ends = { ...stores, ...cacheEnds(app, caches, ledger) };
  for (const [flow, definition] of Object.entries(app.flows)) sinkOf(flow, definition, ends);
  const lanes = await openLanes(app, stores, ends, ledger, context);
  opened.move();
  const parts = { app, stores, caches, ends, lanes, ledger, clock, random, owner, isDead, run };
  const running = new OpenApp<Declared, Kept>(parts);
  heads = () => running.heads();
  return running;
}

async function makeFolder(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true }).catch((cause: unknown) => {
    throw new TallyError('STORE_UNREACHABLE', {
      what: 'the folder of the application cannot be made',
      where: dir,
      mend: 'check the path and its permissions, or set dir',
      cause,
    });
  });
}
