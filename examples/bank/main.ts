import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'tallystick';
import { bankApp } from './app.ts';
import { customer, type Response } from './client.ts';
import { bankServer } from './server.ts';
import { audit } from './verify.ts';

// Opens a bank, sends commands over HTTP, reads each one's effect from the store that is made for the question, and has
// an auditor compare every read model with the events.

/** Runs the example in a folder; returns what the auditor found wrong. */
export async function run(dir: string, say: (line: string) => void): Promise<readonly string[]> {
  await using bank = await open(bankApp(dir));
  await using server = await bankServer(bank);
  const ada = customer(server.url);
  const show = (what: string, { status, body }: Response): void =>
    say(`${what}: ${status} ${JSON.stringify(body)}`);

  show('open', await ada.command('open', { account: 'ada', owner: 'Ada Lovelace' }, 'open-ada'));
  show('open', await ada.command('open', { account: 'bob', owner: 'Bob Byron' }, 'open-bob'));
  show('deposit', await ada.command('deposit', { account: 'ada', cents: 10_000 }, 'pay-day'));
  show(
    'deposit again, by the same key',
    await ada.command('deposit', { account: 'ada', cents: 10_000 }, 'pay-day'),
  );
  show('transfer', await ada.command('transfer', { from: 'ada', to: 'bob', cents: 2_500 }, 'rent'));
  show(
    'transfer to nobody',
    await ada.command('transfer', { from: 'ada', to: 'eve', cents: 100 }, 'gift'),
  );
  show('too much', await ada.command('withdraw', { account: 'bob', cents: 9_999 }, 'greedy'));
  show(
    'by a trainee',
    await customer(server.url, 'trainee').command('open', { account: 'tom', owner: 'Tom' }, 't'),
  );

  show('balance', await ada.read('/accounts/ada'));
  show('by name', await ada.read('/accounts?named=lovelace'));
  show('paid by ada', await ada.read('/accounts/ada/paid'));
  show('turnover', await ada.read('/turnover'));

  const wrong = await audit(bank);
  say(
    wrong.length === 0
      ? 'audit: every read model is what the events say'
      : `audit: ${wrong.join('; ')}`,
  );
  return wrong;
}

if (import.meta.main) {
  const dir = await mkdtemp(join(tmpdir(), 'tally-bank-'));
  try {
    const wrong = await run(dir, (line) => console.log(line));
    process.exitCode = wrong.length === 0 ? 0 : 1;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
