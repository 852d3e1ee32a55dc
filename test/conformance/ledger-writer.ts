import { writeSync } from 'node:fs';
import { isTallyError } from '../../src/core/errors.ts';
import type { Ledger } from '../../src/ports/ledger.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { sqliteLedger } from '../../src/stores/sqlite/ledger/index.ts';

// A process that the tests start, and kill. Every step is two records that belong together and one
// more on a counter that all writers share; what was acknowledged is said on standard output.
// Arguments: the file, the writer's name, the number of steps.

const [file = '', writer = '', steps = ''] = process.argv.slice(2);
const CALLERS = 16;

const context = { name: 'crash', clock: systemClock, random: seededRandom(1) };
const ledger = await sqliteLedger({ file }).open(context);
let next = 0;
await Promise.all(Array.from({ length: CALLERS }, caller));
await ledger.close();

async function caller(): Promise<void> {
  while (next < Number(steps)) {
    const number = next++;
    await step(ledger, `${writer} ${number}`);
    // Synchronous, so that a kill right after it cannot take the line back.
    writeSync(1, `${writer} ${number}\n`);
  }
}

async function step(into: Ledger, name: string): Promise<void> {
  for (;;) {
    const count = await into.get('shared', 'count');
    try {
      await into.commit([
        { kind: 'put', space: 'left', key: name, value: name },
        {
          kind: 'put',
          space: 'shared',
          key: 'count',
          value: String(Number(count?.value ?? 0) + 1),
          ifVersion: count?.version ?? 0,
        },
        { kind: 'put', space: 'right', key: name, value: name },
      ]);
      return;
    } catch (error) {
      if (!isTallyError(error, 'LEDGER_CONFLICT')) throw error;
    }
  }
}
