import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { decider } from 'tallystick/events';
import { accountDecider } from '../../test/support/account.ts';
import { decision, readsGolden, recordGolden } from './index.ts';

const account = accountDecider();
const opened = { type: 'opened', data: { owner: 'Ada' } } as const;
const deposited = { type: 'deposited', data: { cents: 500, currency: 'EUR' } } as const;

/** What an assertion fails with. */
async function failure(work: Promise<void>): Promise<string> {
  return work.then(
    () => 'it held',
    (error: Error) => `${error.name} ${error.message}`,
  );
}

describe('a story about a decider', () => {
  test('says what a command decides, and what the state then is', async () => {
    const story = decision(account).given(opened, deposited).when({ kind: 'withdraw', cents: 200 });
    await story.thenDecides({ type: 'withdrawn', data: { cents: 200 } });
    await story.thenIs({ open: true, cents: 300, moves: 3 });
  });

  test('says what is refused, and what decides nothing', async () => {
    const story = decision(account).given(opened, deposited);
    await story.when({ kind: 'withdraw', cents: 501 }).thenRefuses('insufficient-funds');
    await story.when({ kind: 'open', owner: 'Bob' }).thenDecides();
    await decision(account).when({ kind: 'close' }).thenRefuses('not-open');
  });

  test('goes on with what the command before brought about', async () => {
    await decision(account)
      .when({ kind: 'open', owner: 'Ada' })
      .when({ kind: 'deposit', cents: 5 })
      .when({ kind: 'close' })
      .thenDecides({ type: 'withdrawn', data: { cents: 5 } }, { type: 'closed', data: {} });
  });

  test('can be told on in several ways: nothing of one is in another', async () => {
    const story = decision(account).given(opened);
    await story.when({ kind: 'deposit', cents: 1 }).thenIs({ open: true, cents: 1, moves: 2 });
    await story.thenIs({ open: true, cents: 0, moves: 1 });
  });

  test('fails with the difference if it does not hold', async () => {
    const story = decision(account).given(opened).when({ kind: 'deposit', cents: 5 });
    const wrong = await failure(
      story.thenDecides({ type: 'deposited', data: { cents: 6, currency: 'EUR' } }),
    );
    expect(wrong).toMatch(/^AssertionError/);
    expect(wrong).toContain('6');
    expect(await failure(story.thenIs({ open: true, cents: 6, moves: 2 }))).toMatch(
      /^AssertionError/,
    );
    expect(await failure(story.thenRefuses('not-open'))).toContain('was not refused');
    const refused = decision(account).when({ kind: 'close' });
    expect(await failure(refused.thenRefuses('too-late'))).toContain('not-open');
    expect(await failure(refused.thenDecides())).toContain('not open');
  });

  test.each<[string, () => Promise<void>, string]>([
    [
      'a command that does not fit',
      () => decision(account).when({ kind: 'open', owner: '' }).thenDecides(),
      'owner',
    ],
    [
      'an event that does not fit',
      () =>
        decision(account)
          .given({ type: 'withdrawn', data: { cents: -1 } })
          .thenIs(account.initial),
      'cents',
    ],
    ['no command', () => decision(account).given(opened).thenDecides(), 'no command'],
    [
      'a refusal before the last command',
      () =>
        decision(account).when({ kind: 'close' }).when({ kind: 'open', owner: 'A' }).thenDecides(),
      'not open',
    ],
  ])('with %s fails', async (_what, tell, says) => {
    expect(await failure(tell())).toContain(says);
  });

  test('about a decider that looks at more than it is given is found out', async () => {
    let asked = 0;
    const counter = decider<{
      command: 'now' | 'next';
      state: number;
      event: { type: 'counted'; data: number };
    }>({
      category: 'counter',
      initial: 0,
      decide: (command) => [{ type: 'counted', data: command === 'now' ? (asked += 1) : 1 }],
      evolve: (state, { data }) => state + data + (data === 1 ? (asked += 1) : 0),
      events: { counted: {} },
    });
    expect(await failure(decision(counter).when('now').thenIs(0))).toContain(
      'decide was asked twice',
    );
    expect(await failure(decision(counter).when('next').thenIs(0))).toContain(
      'evolve was asked twice',
    );
  });

  test('about an event that no store can carry fails', async () => {
    const dated = decider<{ command: Date; state: null; event: { type: 'at'; data: Date } }>({
      category: 'dated',
      initial: null,
      decide: (at) => [{ type: 'at', data: at }],
      evolve: () => null,
      events: { at: {} },
    });
    await expect(decision(dated).when(new Date(0)).thenIs(null)).rejects.toMatchObject({
      code: 'VALUE_UNSUPPORTED',
    });
  });
});

describe('golden files', () => {
  const inFolder = async (work: (dir: string) => Promise<void>): Promise<void> => {
    const dir = await mkdtemp(join(tmpdir(), 'tally-golden-'));
    try {
      await work(dir);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  };
  const present = [
    opened,
    deposited,
    { type: 'withdrawn', data: { cents: 1 } },
    { type: 'closed', data: {} },
  ] as const;
  const old = (dir: string): Promise<void[]> =>
    Promise.all([
      writeFile(
        join(dir, 'deposited.v1.json'),
        JSON.stringify([
          {
            written: { cents: 7 },
            read: { type: 'deposited', data: { cents: 7, currency: 'EUR' } },
          },
        ]),
      ),
      writeFile(
        join(dir, 'taken.v1.json'),
        JSON.stringify([
          { written: { cents: 7 }, read: { type: 'withdrawn', data: { cents: 7 } } },
        ]),
      ),
    ]);

  test('of every name and version are read as recorded', () =>
    inFolder(async (dir) => {
      await old(dir);
      expect(await recordGolden(account, dir, present)).toEqual([
        'opened.v1.json',
        'deposited.v2.json',
        'withdrawn.v1.json',
        'closed.v1.json',
      ]);
      await readsGolden(account, dir);
      await readsGolden(account, pathToFileURL(`${dir}/`));
    }));

  test('that are missing are named', () =>
    inFolder(async (dir) => {
      await recordGolden(account, dir, present);
      const wrong = await failure(readsGolden(account, dir));
      expect(wrong).toContain('deposited.v1.json');
      expect(wrong).toContain('taken.v1.json');
      expect(await failure(readsGolden(account, join(dir, 'nowhere')))).toContain('closed.v1.json');
    }));

  test('that are read as something else fail with the difference', () =>
    inFolder(async (dir) => {
      await old(dir);
      await recordGolden(account, dir, present);
      const otherwise = decider({
        category: 'account',
        initial: 0,
        decide: () => [],
        evolve: () => 0,
        events: {
          opened: {},
          deposited: {
            version: 2,
            upcast: { 1: (data: object) => ({ ...data, currency: 'USD' }) },
          },
          withdrawn: { formerly: ['taken'] },
          closed: {},
        },
      });
      expect(await failure(readsGolden(otherwise, dir))).toMatch(/deposited\.v1\.json.*USD/s);
    }));

  test('that are there are never written again', () =>
    inFolder(async (dir) => {
      await recordGolden(account, dir, [opened]);
      const before = await readFile(join(dir, 'opened.v1.json'), 'utf8');
      expect(
        await recordGolden(account, dir, [{ type: 'opened', data: { owner: 'Eve' } }]),
      ).toEqual([]);
      expect(await readFile(join(dir, 'opened.v1.json'), 'utf8')).toBe(before);
      expect(await readdir(dir)).toEqual(['opened.v1.json']);
    }));
});
