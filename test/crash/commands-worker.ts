import { join } from 'node:path';
import { command, commandBus, keyValueAnswers, type Command } from 'tallystick/cqrs';
import { aggregates, keyValueSnapshots, type Aggregates } from 'tallystick/events';
import { sqlite, type SqliteEventsStore, type SqliteStore } from 'tallystick/sqlite';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { accountDecider, type AccountTypes } from '../support/account.ts';

/** Accounts that the commands are spread over. */
export const ACCOUNTS = 3;

/** The account of the n-th command, and what it asks: it opens each account first, and then pays n cents in. */
export function nthCommand(n: number): {
  readonly id: string;
  readonly command: AccountTypes['command'];
} {
  const id = `a${n % ACCOUNTS}`;
  return n <= ACCOUNTS
    ? { id, command: { kind: 'open', owner: id } }
    : { id, command: { kind: 'deposit', cents: n } };
}

/** The two files of the worker. */
export async function openFiles(
  dir: string,
): Promise<{ readonly bank: SqliteEventsStore; readonly desk: SqliteStore }> {
  const context = { clock: systemClock, random: systemRandom };
  const bank = sqlite({ file: join(dir, 'bank.db'), capture: 'events' });
  const desk = sqlite({ file: join(dir, 'desk.db') });
  return {
    bank: await bank.open({ name: 'bank', ...context }),
    desk: await desk.open({ name: 'desk', ...context }),
  };
}

export function accountsIn({
  bank,
  desk,
}: Awaited<ReturnType<typeof openFiles>>): Aggregates<AccountTypes> {
  return aggregates(accountDecider({ snapshot: { every: 4, version: 1 } }), {
    events: bank.events,
    snapshots: keyValueSnapshots(desk.keyValue),
  });
}

// Sends one command after the other, each by a key of its own, and writes the number of each that was answered. It begins
// with the one before the first that was not: a client that does not know sends it again.
if (import.meta.main) {
  const [, , dir = '', from = '1'] = process.argv;
  const files = await openFiles(dir);
  const accounts = accountsIn(files);
  const pay: Command<number, number> = command({
    key: 'required',
    handle: async (n, { key = '' }) => {
      const { id, command: asked } = nthCommand(n);
      const { version, evidence, repeated } = await accounts.handle(id, asked, { key });
      return { value: version, evidence, repeated };
    },
  });
  const bus = commandBus({ commands: { pay }, answers: keyValueAnswers(files.desk.keyValue) });
  armFromEnvironment(process.env);
  for (let n = Number(from); ; n++) {
    await bus.send('pay', n, { key: `k${n}` });
    process.stdout.write(`${n}\n`);
  }
}
