import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { open } from 'tallystick';
import { ask } from '../../test/support/ask.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { bankApp, type OpenBank } from './app.ts';
import { customer, type Customer, type Response } from './client.ts';
import { accountsOf, bankCommands } from './commands.ts';
import { bankQueries } from './queries.ts';
import { run } from './main.ts';
import { bankServer } from './server.ts';
import { audit } from './verify.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tally-bank-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

test('what was sent over HTTP is read at once from four stores, and they are what the events say', async () => {
  const lines: string[] = [];
  expect(await run(dir, (line) => lines.push(line))).toEqual([]);
  const said = lines.join('\n');
  expect(said).toMatch(/deposit again, by the same key: 200 .*"version":2.*"repeated":true/);
  expect(said).toMatch(/transfer to nobody: 422 .*declined/);
  expect(said).toMatch(/by a trainee: 403/);
  expect(said).toMatch(/balance: 200 .*"cents":7500.*"model":"balances","freshness":"fresh"/);
  expect(said).toMatch(/by name: 200 .*\["ada"\].*"model":"names"/);
  expect(said).toMatch(/paid by ada: 200 .*"to":"bob","cents":2500/);
  expect(said).toMatch(/turnover: 200 .*"movements":5/);
}, 60_000);

const ids = ['ada', 'bob', 'eve', 'tom'] as const;

/** Commands as they come, from a seed: some are refused, some are sent twice. */
async function traffic(at: Customer, seed: number, count: number): Promise<readonly Response[]> {
  const random = seededRandom(seed);
  const pick = (): string => ids[Math.floor(random.next() * ids.length)] ?? 'ada';
  const answers: Response[] = [];
  for (let index = 0; index < count; index++) {
    const cents = 1 + Math.floor(random.next() * 500);
    const [name, input] = [
      ['open', { account: pick(), owner: `${pick()} of seed ${seed}` }],
      ['deposit', { account: pick(), cents }],
      ['withdraw', { account: pick(), cents }],
      ['transfer', { from: pick(), to: pick(), cents }],
      ['close', { account: pick() }],
      ['deposit', { account: pick(), cents }],
    ][Math.floor(random.next() * 6)] as [string, object];
    const key = `${seed}-${index}`;
    answers.push(await at.command(name, input, key));
    if (random.next() < 0.2) answers.push(await at.command(name, input, key));
  }
  return answers;
}

/** Every row of every read model. */
async function readModels(bank: OpenBank): Promise<unknown> {
  const models: Record<string, unknown> = {};
  for (const [store, target] of [
    ['views', 'balances'],
    ['search', 'names'],
    ['graph', 'payments'],
    ['reports', 'movements'],
  ] as const) {
    const rows: unknown[] = [];
    for await (const page of bank.stores[store].scan.scan(target, { rowsMax: 1_000 }))
      rows.push(...page);
    models[target] = rows;
  }
  return models;
}

test('each read model that is rebuilt from all events is the one that was kept in step', async () => {
  await using bank = await open(bankApp(dir));
  await using server = await bankServer(bank);
  await traffic(customer(server.url), 1, 120);
  expect(await audit(bank)).toEqual([]);
  const before = await readModels(bank);
  expect(JSON.stringify(before).length).toBeGreaterThan(1_000);
  for (const flow of ['balances', 'names', 'payments', 'movements'])
    await ask(bank, { of: 'flow', flow, request: { kind: 'rebuild' } });
  expect(await audit(bank)).toEqual([]);
  expect(await readModels(bank)).toEqual(before);
}, 120_000);

test('a command that was answered is answered again after a restart, and money is moved once', async () => {
  let first: Response;
  {
    await using bank = await open(bankApp(dir));
    await using server = await bankServer(bank);
    const ada = customer(server.url);
    for (const account of ['ada', 'bob'])
      await ada.command('open', { account, owner: account }, account);
    await ada.command('deposit', { account: 'ada', cents: 100 }, 'd');
    first = await ada.command('transfer', { from: 'ada', to: 'bob', cents: 60 }, 't');
    expect(first).toMatchObject({ status: 200, body: { value: { cents: 40 }, repeated: false } });
  }
  await using bank = await open(bankApp(dir));
  await using server = await bankServer(bank);
  const ada = customer(server.url);
  const again = await ada.command('transfer', { from: 'ada', to: 'bob', cents: 60 }, 't');
  expect(again).toEqual({ status: 200, body: { ...first.body, repeated: true } });
  expect(await ada.command('transfer', { from: 'ada', to: 'bob', cents: 61 }, 't')).toMatchObject({
    status: 422,
    body: { error: 'COMMAND_KEY_REUSED' },
  });
  expect(await ada.read('/accounts/bob')).toMatchObject({ body: { value: { cents: 60 } } });
  expect(await audit(bank)).toEqual([]);
}, 60_000);

test('a transfer that stopped half way is brought to its end by the same key', async () => {
  await using bank = await open(bankApp(dir));
  const accounts = accountsOf(bank);
  const clerk = { name: 'ada', mayOpen: true };
  const commands = bankCommands(bank, accounts);
  for (const account of ['ada', 'bob'])
    await commands.send('open', { account, owner: account }, { actor: clerk, key: account });
  await commands.send('deposit', { account: 'ada', cents: 100 }, { actor: clerk, key: 'd' });
  // What a process has done that died after the first step.
  const money = { transfer: 't', cents: 60 };
  await accounts.handle('ada', { kind: 'send', to: 'bob', ...money }, { key: 't/send' });
  expect(await audit(bank)).toEqual([]);
  const done = await commands.send(
    'transfer',
    { from: 'ada', to: 'bob', cents: 60 },
    { actor: clerk, key: 't' },
  );
  expect(done).toMatchObject({ value: { cents: 40 } });
  expect((await accounts.load('ada')).state.cents).toBe(40);
  expect((await accounts.load('bob')).state.cents).toBe(60);
}, 60_000);

describe('while a read model', () => {
  test('is behind, the events themselves answer by key, and a search says that nobody can', async () => {
    // Nobody runs the flows here.
    await using bank = await open(bankApp(dir), { run: false });
    const accounts = accountsOf(bank);
    const { evidence } = await accounts.handle('ada', { kind: 'open', owner: 'Ada' }, { key: 'k' });
    const queries = bankQueries(bank, accounts);
    expect(await queries.account('ada', { after: evidence, within: '50ms' })).toMatchObject({
      value: { account: 'ada', status: 'open' },
      model: 'history',
      freshness: { kind: 'fresh' },
      tried: [{ model: 'balances', why: 'not-fresh' }],
    });
    await expect(
      queries.accountsNamed('ada', { after: evidence, within: '50ms' }),
    ).rejects.toMatchObject({
      code: 'QUERY_UNANSWERED',
      details: { tried: [{ model: 'names' }, { model: 'balances' }] },
    });
  }, 60_000);

  test('has parked an event that nothing knows, others go on, and it is known which account is held back', async () => {
    await using bank = await open(bankApp(dir));
    const { events } = bank.stores.bank;
    const accounts = accountsOf(bank);
    await accounts.handle('ada', { kind: 'open', owner: 'Ada' });
    await events.append('account-ada', [{ type: 'robbed', data: {} }]);
    await events.append('account-ada', [{ type: 'deposited', data: { cents: 5 } }]);
    const bob = await accounts.handle('bob', { kind: 'open', owner: 'Bob' });
    const keys = [{ table: 'events', key: [4] }];
    const read = await bank.read('views', { after: bob.evidence, within: '20s', keys }, (db) =>
      db.prepare('SELECT account, version FROM balances ORDER BY account').all(),
    );
    expect(read.value).toEqual([
      { account: 'ada', version: 1 },
      { account: 'bob', version: 1 },
    ]);
    const blocked = await bank.barrier('views', { after: bob.evidence, within: 0 });
    expect(blocked).toMatchObject({ kind: 'blocked' });
    await expect(accounts.load('ada')).rejects.toMatchObject({ code: 'EVENT_UNKNOWN' });
  }, 60_000);
});
