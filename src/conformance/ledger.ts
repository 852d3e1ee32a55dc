import assert from 'node:assert/strict';
import type { Ledger, LedgerOperation } from '../ports/ledger.ts';
import {
  keysOf,
  only,
  put,
  putOver,
  rejectsWith,
  valueAt,
  type LedgerSuite,
} from './ledger-harness.ts';

/** Concurrent callers of the suite: as many as share commits in a busy coordinator. */
const CALLERS = 64;

/**
 * What the kernel builds on when it keeps its state in a ledger: steps that happen whole or not at
 * all, alone in their conflicts however many share a commit, with versions that never return. Leases
 * are in {@link leaseConformance}. Registers one test per promise with the given runner.
 */
export function ledgerConformance(suite: LedgerSuite): void {
  const check = (name: string, run: (ledger: Ledger) => Promise<void>): void => {
    suite.test(name, async () => {
      const ledger = await suite.open();
      try {
        await run(ledger);
      } finally {
        await ledger.close();
      }
    });
  };
  recordTests(check);
  versionTests(check);
  stepTests(check);
  sharedCommitTests(check);
  orderTests(check);
  listTests(check);
  lifecycleTests(suite);
}

type Check = (name: string, run: (ledger: Ledger) => Promise<void>) => void;

function recordTests(check: Check): void {
  check('reads back what was written, and nothing where nothing was', async (ledger) => {
    assert.equal(await ledger.get('space', 'key'), undefined);
    const version = await only(ledger, put('key', 'value'));
    assert.deepEqual(
      { ...(await ledger.get('space', 'key')) },
      { key: 'key', value: 'value', version },
    );
    assert.equal(await ledger.get('other', 'key'), undefined);
  });

  check('keeps any well-formed text as it is', async (ledger) => {
    const texts = ['', ' ', 'a\0b', '\0', '𝒯ally 🪵', '\u{10ffff}', "'; --", 'x'.repeat(100_000)];
    for (const [index, value] of texts.entries()) await ledger.commit([put(`key ${index}`, value)]);
    for (const [index, value] of texts.entries())
      assert.equal(await valueAt(ledger, `key ${index}`), value);
  });

  check('tells keys apart by every character', async (ledger) => {
    const keys = ['', 'a', 'A', 'a ', 'a\0', 'a\0b', 'ä', 'a\u0308'];
    await ledger.commit(keys.map((key) => put(key, `at ${JSON.stringify(key)}`)));
    for (const key of keys) assert.equal(await valueAt(ledger, key), `at ${JSON.stringify(key)}`);
  });

  check('keeps spaces apart', async (ledger) => {
    await ledger.commit([put('key', 'one', 'first'), put('key', 'two', 'second')]);
    await ledger.commit([{ kind: 'delete', space: 'first', key: 'key' }]);
    assert.equal(await valueAt(ledger, 'key', 'first'), undefined);
    assert.equal(await valueAt(ledger, 'key', 'second'), 'two');
  });

  check('refuses text that has no UTF-8 form instead of changing it', async (ledger) => {
    await rejectsWith('VALUE_UNSUPPORTED', ledger.commit([put('key', 'half \ud800')]));
    await rejectsWith('VALUE_UNSUPPORTED', ledger.commit([put('half \udfff', 'value')]));
    assert.deepEqual(await keysOf(ledger), []);
  });

  check('answers an empty step with an empty result', async (ledger) => {
    assert.deepEqual([...(await ledger.commit([]))], []);
  });
}

function versionTests(check: Check): void {
  check('gives every write of a key a greater version', async (ledger) => {
    let before = 0;
    for (const value of ['one', 'two', 'two']) {
      const version = await only(ledger, put('key', value));
      assert.ok(version > before, `${version} after ${before}`);
      assert.equal((await ledger.get('space', 'key'))?.version, version);
      before = version;
    }
  });

  check('writes over the expected version only', async (ledger) => {
    const first = await only(ledger, putOver(0, 'key', 'one'));
    const second = await only(ledger, putOver(first, 'key', 'two'));
    await rejectsWith('LEDGER_CONFLICT', ledger.commit([putOver(first, 'key', 'late')]));
    await rejectsWith('LEDGER_CONFLICT', ledger.commit([putOver(0, 'key', 'late')]));
    assert.deepEqual(
      { ...(await ledger.get('space', 'key')) },
      { key: 'key', value: 'two', version: second },
    );
    await rejectsWith('LEDGER_CONFLICT', ledger.commit([putOver(second, 'absent', 'value')]));
    assert.equal(await valueAt(ledger, 'absent'), undefined);
  });

  check('deletes the expected version only', async (ledger) => {
    const key = { kind: 'delete', space: 'space', key: 'key' } as const;
    const first = await only(ledger, put('key', 'one'));
    const second = await only(ledger, put('key', 'two'));
    await rejectsWith('LEDGER_CONFLICT', ledger.commit([{ ...key, ifVersion: first }]));
    await rejectsWith('LEDGER_CONFLICT', ledger.commit([{ ...key, ifVersion: 0 }]));
    assert.equal(await valueAt(ledger, 'key'), 'two');
    assert.equal(await only(ledger, { ...key, ifVersion: second }), 0);
    assert.equal(await valueAt(ledger, 'key'), undefined);
    await rejectsWith('LEDGER_CONFLICT', ledger.commit([{ ...key, ifVersion: second }]));
    assert.equal(await only(ledger, { ...key, ifVersion: 0 }), 0);
    assert.equal(await only(ledger, key), 0);
  });

  check('never gives a deleted key one of its versions again', async (ledger) => {
    const old = await only(ledger, put('key', 'one'));
    await ledger.commit([{ kind: 'delete', space: 'space', key: 'key' }]);
    const anew = await only(ledger, putOver(0, 'key', 'another life'));
    assert.ok(anew > old, `${anew} after ${old}`);
    await rejectsWith('LEDGER_CONFLICT', ledger.commit([putOver(old, 'key', 'late')]));
    assert.equal(await valueAt(ledger, 'key'), 'another life');
  });
}

function stepTests(check: Check): void {
  check('commits all operations of a step and answers in their order', async (ledger) => {
    await ledger.commit([put('gone', 'value')]);
    const result = await ledger.commit([
      put('first', 'one'),
      { kind: 'delete', space: 'space', key: 'gone' },
      put('second', 'two'),
    ]);
    assert.equal(result.length, 3);
    assert.equal((await ledger.get('space', 'first'))?.version, result[0]);
    assert.equal(result[1], 0);
    assert.equal((await ledger.get('space', 'second'))?.version, result[2]);
    assert.equal(await valueAt(ledger, 'gone'), undefined);
  });

  check('lets an operation see those before it in its step', async (ledger) => {
    await ledger.commit([put('key', 'old')]);
    await ledger.commit([
      { kind: 'delete', space: 'space', key: 'key' },
      putOver(0, 'key', 'new'),
      putOver(0, 'other', 'value'),
    ]);
    assert.equal(await valueAt(ledger, 'key'), 'new');
    await rejectsWith(
      'LEDGER_CONFLICT',
      ledger.commit([put('third', 'one'), putOver(0, 'third', 'two')]),
    );
    assert.equal(await valueAt(ledger, 'third'), undefined);
  });

  check('leaves nothing of a step whose last operation is refused', async (ledger) => {
    const version = await only(ledger, put('kept', 'before'));
    const acquire = {
      kind: 'acquire',
      lease: 'worker',
      owner: 'one',
      ttlMs: 1_000,
      nowMs: 0,
    } as const;
    const refused: LedgerOperation[] = [
      put('kept', 'after'),
      put('new', 'value'),
      acquire,
      { kind: 'delete', space: 'space', key: 'kept' },
      putOver(version + 1_000, 'kept', 'never'),
    ];
    await rejectsWith('LEDGER_CONFLICT', ledger.commit(refused));
    assert.deepEqual(
      { ...(await ledger.get('space', 'kept')) },
      { key: 'kept', value: 'before', version },
    );
    assert.deepEqual(await keysOf(ledger), ['kept']);
    assert.deepEqual([...(await ledger.leases())], []);
  });
}

function sharedCommitTests(check: Check): void {
  check(
    'rejects the one conflicting step of two hundred and commits the others',
    async (ledger) => {
      await ledger.commit([put('contested', 'value')]);
      const steps = Array.from({ length: 200 }, (_, index) =>
        index === 100
          ? [put('half a step', 'x'), putOver(0, 'contested', 'stolen')]
          : [put(`left ${index}`, `${index}`), put(`right ${index}`, `${index}`)],
      );
      const outcomes = await Promise.allSettled(steps.map((step) => ledger.commit(step)));
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      assert.equal(refused.length, 1);
      await rejectsWith('LEDGER_CONFLICT', Promise.reject(refused[0]?.reason as Error));
      assert.equal(outcomes[100]?.status, 'rejected');
      assert.equal(await valueAt(ledger, 'half a step'), undefined);
      assert.equal(await valueAt(ledger, 'contested'), 'value');
      assert.equal((await keysOf(ledger, { prefix: 'left ' })).length, 199);
      assert.equal((await keysOf(ledger, { prefix: 'right ' })).length, 199);
    },
  );

  check('lets exactly one of many claims of the same key win', async (ledger) => {
    const claims = Array.from({ length: CALLERS }, (_, index) =>
      ledger.commit([putOver(0, 'prize', `caller ${index}`), put(`done ${index}`, 'x')]),
    );
    const outcomes = await Promise.allSettled(claims);
    const winners = outcomes.flatMap((outcome, index) =>
      outcome.status === 'fulfilled' ? [index] : [],
    );
    assert.equal(winners.length, 1);
    assert.equal(await valueAt(ledger, 'prize'), `caller ${winners[0]}`);
    assert.deepEqual(await keysOf(ledger, { prefix: 'done ' }), [`done ${winners[0]}`]);
  });

  check('loses no increment of 64 callers who each retry their conflicts', async (ledger) => {
    const rounds = 4;
    const caller = async (): Promise<void> => {
      for (let round = 0; round < rounds;) {
        const record = await ledger.get('space', 'count');
        const next = String(Number(record?.value ?? 0) + 1);
        const step = ledger.commit([putOver(record?.version ?? 0, 'count', next)]);
        round += await step.then(
          () => 1,
          async (error: unknown) => {
            await rejectsWith('LEDGER_CONFLICT', Promise.reject(error));
            return 0;
          },
        );
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, caller));
    assert.equal(await valueAt(ledger, 'count'), String(CALLERS * rounds));
  });
}

function orderTests(check: Check): void {
  check('shows a read every commit that resolved before it', async (ledger) => {
    const caller = async (index: number): Promise<void> => {
      for (let round = 0; round < 20; round++) {
        await ledger.commit([put(`caller ${index}`, String(round))]);
        assert.equal(await valueAt(ledger, `caller ${index}`), String(round));
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(index)));
  });

  check('applies the steps of one caller in the order of its calls', async (ledger) => {
    const steps = Array.from({ length: 500 }, (_, index) =>
      ledger.commit([put('key', String(index))]),
    );
    const versions = (await Promise.all(steps)).map(([version = 0]) => version);
    assert.deepEqual(
      versions,
      versions.toSorted((left, right) => left - right),
    );
    assert.equal(await valueAt(ledger, 'key'), '499');
  });
}

function listTests(check: Check): void {
  check('lists in the byte order of the keys', async (ledger) => {
    // In UTF-16 units the last one would come before the one in front of it.
    const ordered = ['', '\0', '!', 'A', 'B', 'a', 'a\0', 'aa', 'b', 'ä', '\uff5e', '\u{1f333}'];
    await ledger.commit(ordered.toReversed().map((key) => put(key, 'x')));
    await ledger.commit([put('a', 'in another space', 'other')]);
    assert.deepEqual(await keysOf(ledger), ordered);
  });

  check('lists the keys with a prefix', async (ledger) => {
    const keys = [
      'a',
      'a%',
      'a%b',
      'a_',
      'ab',
      'b',
      'a\ud7ff',
      'a\ud7ffz',
      'a\u{10ffff}',
      'a\u{10ffff}z',
    ];
    await ledger.commit(keys.map((key) => put(key, 'x')));
    assert.deepEqual(await keysOf(ledger, { prefix: 'a%' }), ['a%', 'a%b']);
    assert.deepEqual(await keysOf(ledger, { prefix: 'a_' }), ['a_']);
    assert.deepEqual(await keysOf(ledger, { prefix: 'a\ud7ff' }), ['a\ud7ff', 'a\ud7ffz']);
    assert.deepEqual(await keysOf(ledger, { prefix: 'a\u{10ffff}' }), [
      'a\u{10ffff}',
      'a\u{10ffff}z',
    ]);
    assert.equal((await keysOf(ledger, { prefix: 'a' })).length, 9);
    assert.equal((await keysOf(ledger, { prefix: '' })).length, 10);
    assert.deepEqual(await keysOf(ledger, { prefix: 'nothing' }), []);
  });

  check('lists page by page with after and limit', async (ledger) => {
    const keys = Array.from({ length: 25 }, (_, index) => `key ${String(index).padStart(2, '0')}`);
    await ledger.commit([...keys.map((key) => put(key, key)), put('other', 'x')]);
    const seen: string[] = [];
    for (let after: string | undefined; ;) {
      const from = after === undefined ? {} : { after };
      const page = await ledger.list('space', { prefix: 'key ', limit: 10, ...from });
      seen.push(...page.map((record) => record.key));
      after = page.at(-1)?.key;
      if (page.length < 10) break;
    }
    assert.deepEqual(seen, keys);
    assert.deepEqual(await keysOf(ledger, { after: 'key 23' }), ['key 24', 'other']);
    assert.deepEqual(await keysOf(ledger, { after: 'key 24', prefix: 'key ' }), []);
    assert.deepEqual(await keysOf(ledger, { after: 'a', limit: 1 }), ['key 00']);
    assert.deepEqual(await keysOf(ledger, { limit: 0 }), []);
  });

  check('lists values and versions as get returns them', async (ledger) => {
    await ledger.commit([put('one', '1'), put('two', '2')]);
    for (const record of await ledger.list('space'))
      assert.deepEqual({ ...record }, { ...(await ledger.get('space', record.key)) });
  });
}

function lifecycleTests(suite: LedgerSuite): void {
  suite.test('finishes what waits before it closes, and closes once', async () => {
    const ledger = await suite.open();
    const waiting = Array.from({ length: CALLERS }, (_, index) =>
      ledger.commit([put(`key ${index}`, 'x')]),
    );
    const closed = ledger.close();
    await Promise.all(waiting);
    await closed;
    await ledger.close();
  });

  suite.test('refuses its use after it was closed', async () => {
    const ledger = await suite.open();
    await ledger.close();
    await rejectsWith('STORE_CLOSED', ledger.commit([put('key', 'x')]));
    await rejectsWith('STORE_CLOSED', ledger.get('space', 'key'));
    await rejectsWith('STORE_CLOSED', ledger.list('space'));
    await rejectsWith('STORE_CLOSED', ledger.leases());
  });

  const { reopen } = suite;
  if (reopen === undefined) {
    suite.test('says that it is not durable, since it cannot be opened again', async () => {
      await using ledger = await suite.open();
      assert.equal(ledger.supports.durable, false);
    });
    return;
  }
  suite.test('has everything that was acknowledged when it is opened again', async () => {
    const before = await suite.open();
    assert.equal(before.supports.durable, true);
    const version = await only(before, put('key', 'value'));
    const epoch = await only(before, {
      kind: 'acquire',
      lease: 'worker',
      owner: 'one',
      ttlMs: 1_000,
      nowMs: 500,
    });
    const deleted = await only(before, put('deleted', 'x'));
    await before.commit([{ kind: 'delete', space: 'space', key: 'deleted' }]);
    await before.close();

    const after = await reopen(before);
    try {
      assert.deepEqual(
        { ...(await after.get('space', 'key')) },
        { key: 'key', value: 'value', version },
      );
      assert.deepEqual(await keysOf(after), ['key']);
      const [lease] = await after.leases();
      assert.deepEqual({ ...lease }, { lease: 'worker', owner: 'one', epoch, expiresAtMs: 1_500 });
      assert.ok(
        (await only(after, put('deleted', 'y'))) > deleted,
        'versions go on where they were',
      );
    } finally {
      await after.close();
    }
  });
}
