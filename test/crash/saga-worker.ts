import { DatabaseSync } from 'node:sqlite';
import { setTimeout } from 'node:timers/promises';
import { must } from '../../src/core/errors.ts';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import { refused, saga, SagaEngine } from '../../src/patterns/saga/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { isDeadProcess, ownProcess } from '../../src/runtime/owner.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { postgresLedger } from '../../src/stores/postgres/ledger/index.ts';
import { sqliteLedger } from '../../src/stores/sqlite/ledger/index.ts';

// One saga of a kind, from wherever it stands to its end, on a real ledger; its effects are rows of a database of
// their own. Prints how it ended. Killed at a crash point if TALLY_CRASH names one.

const [ledgerPlace = '', effectsFile = '', kind = '', id = ''] = process.argv.slice(2);
const effects = new DatabaseSync(effectsFile, { timeout: 10_000 });
effects.exec(
  'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS effect (key TEXT PRIMARY KEY, state TEXT, times INT)',
);

/** Once for each key; one that was undone stays so. */
function apply(key: string): void {
  effects
    .prepare(
      `INSERT INTO effect VALUES (?, 'done', 1) ON CONFLICT DO UPDATE SET times = times + (state <> 'done')`,
    )
    .run(key);
}

function undo(key: string): void {
  effects
    .prepare(
      `INSERT INTO effect VALUES (?, 'undone', 0) ON CONFLICT DO UPDATE SET state = 'undone'`,
    )
    .run(key);
}

/** Whether somebody has looked after what went wrong. */
function isMended(): boolean {
  return effects.prepare(`SELECT 1 FROM effect WHERE key = 'mended'`).get() !== undefined;
}

const order = saga<{ readonly kind: string }>('order')
  .step('reserve', {
    do: ({ key }) => apply(key),
    undo: ({ step }) => {
      if (kind === 'park' && !isMended()) throw refused('not yet');
      undo(step.key);
    },
  })
  .step('hold', { do: ({ key }) => apply(key), undo: ({ step }) => undo(step.key) })
  .signal('go')
  .pivot('charge', {
    do: ({ key, input }) => {
      if (input.kind !== 'complete') throw refused('declined');
      apply(key);
    },
  })
  .retriable('confirm', { do: ({ key }) => apply(key) })
  .end();

const definition = ledgerPlace.startsWith('postgres')
  ? postgresLedger({ url: ledgerPlace })
  : sqliteLedger({ file: ledgerPlace });
const ledger = await definition.open({ name: 'sagas', clock: systemClock, random: systemRandom });
const engine = new SagaEngine({
  ledger,
  clock: systemClock,
  random: systemRandom,
  owner: ownProcess(),
  isDead: isDeadProcess,
  definitions: [order],
  run: true,
});
armFromEnvironment(process.env);
await engine.start(order, { id, input: { kind } });
// Not before it waits: what comes early is another path.
while (['ready', 'running'].includes((await engine.show(id)).status)) await setTimeout(10);
await engine.signal(id, 'go', { signalId: 'once' }).catch(() => undefined);
let outcome = await engine.result(order, id);
if (outcome.status === 'parked') {
  apply('mended');
  await engine.decide(id, { operation: 'retry', by: 'test', reason: 'mended' });
  outcome = await engine.result(order, id);
}
const rows = effects
  .prepare(`SELECT key, state, times FROM effect WHERE key LIKE ? ORDER BY key`)
  .all(`${id}/%`);
console.log(JSON.stringify({ outcome, rows }));
await engine.close();
await must(ledger, 'the ledger').close();
