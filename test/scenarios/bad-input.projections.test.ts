import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { flow, put, type Row, type RowProjection } from 'tallystick';
import { listParked } from '../../src/flow/parked.ts';
import { appFile, json, start, tallyCommand } from '../support/cli.ts';
import {
  ask,
  copied,
  inFolder,
  openCopy,
  owned,
  retryAll,
  stateOf,
  until,
  WITHIN,
  write,
  type OpenCopy,
} from '../support/copy-app.ts';

const MEBIBYTE = 1024 * 1024;
const about = (key: string) => ({ keys: [{ table: 'products', key: [key] }] });

async function parkedOf(app: OpenCopy, count: number) {
  return until(
    async () => {
      const parked = await listParked(app.ledger, 'copy');
      return parked.length >= count ? parked : undefined;
    },
    () => app.status(),
  );
}

/** Changes the owner's rows as a program that knows nothing of flows. */
function foreign(dir: string, sql: string): void {
  using db = new DatabaseSync(join(dir, 'orders.db'), { timeout: 5_000 });
  db.exec(sql);
}

test('a poisoned key is parked, others go on, and it survives SIGKILL and a restart until it is corrected', () =>
  inFolder(async (dir) => {
    const env = { COPY_DIR: dir };
    {
      await using worker = start(['up', appFile, '--json'], env);
      await until(
        () => hasTarget(dir),
        () => worker.child.exitCode,
      );
      foreign(dir, "INSERT INTO products (sku, title) VALUES ('bad', '1'), ('good', '1')");
      await until(() => (copied(dir)['good'] === '1' ? true : undefined));
      await worker.kill('SIGKILL');
    }
    foreign(dir, "UPDATE products SET title = '2'");
    {
      // The second change of the poisoned key queues behind the first, although nobody looked at it before.
      await using worker = start(['up', appFile, '--json'], env);
      await until(() => (copied(dir)['good'] === '2' ? true : undefined));
      await worker.kill('SIGKILL');
    }
    const listed = await tallyCommand(['parked', appFile, '--json'], env);
    expect(listed.code).toBe(0);
    expect(json(listed)).toMatchObject({
      parked: [
        { flow: 'copy', unit: 'source products ["bad"]', error: { code: 'PROJECTION_FAILED' } },
        { flow: 'copy', unit: 'source products ["bad"]' },
      ],
    });
    expect((await tallyCommand(['parked', appFile], env)).out).toContain('no such category');
    {
      await using worker = start(['up', appFile, '--json'], { ...env, COPY_HEALED: '1' });
      await until(async () =>
        (await tallyCommand(['status', appFile, '--json'], env)).code === 0 ? true : undefined,
      );
      const retried = await tallyCommand(['parked', appFile, 'copy', '--retry-all', '--json'], env);
      expect(json(retried)).toEqual({ flow: 'copy', done: 2 });
      const { code } = await worker.kill('SIGINT');
      expect(code).toBe(0);
    }
    expect(copied(dir)).toEqual(owned(dir));
    expect(copied(dir)).toEqual({ bad: '2', good: '2' });
    expect(json(await tallyCommand(['parked', appFile, '--json'], env))).toEqual({ parked: [] });
  }));

function hasTarget(dir: string): true | undefined {
  try {
    copied(dir);
    return true;
  } catch {
    return undefined;
  }
}

test('a projection that is async is refused as PROJECTION_INVALID with what to do, and ends no process', () =>
  inFolder(async (dir) => {
    const project = (async (row: Row) => {
      await Promise.resolve();
      if (row['sku'] === 'b') throw new Error('rejected where nobody listens');
      return put('documents', [row['sku'] as string], row);
    }) as unknown as RowProjection;
    await using app = await openCopy(dir, { flow: { project } });
    await write(app, { a: '1', b: '1' });
    const parked = await parkedOf(app, 2);
    for (const { error } of parked) {
      expect(error?.code).toBe('PROJECTION_INVALID');
      expect(error?.message).toContain('returned a promise');
      expect(error?.message).toContain('make it synchronous');
    }
  }));

const circular: Record<string, unknown> = {};
circular['self'] = circular;

test.each<[what: string, code: string, returned: unknown]>([
  ['a number', 'PROJECTION_INVALID', 7],
  ['a text', 'PROJECTION_INVALID', 'documents'],
  ['a list of promises', 'PROJECTION_INVALID', [Promise.resolve(put('documents', ['a'], {}))]],
  ['a target that is not declared', 'PROJECTION_INVALID', { target: 'x', key: ['a'], row: {} }],
  ['a key that is no list', 'PROJECTION_INVALID', { target: 'documents', key: 'a', row: {} }],
  ['an empty key', 'PROJECTION_INVALID', { target: 'documents', key: [], row: {} }],
  ['a key with null', 'PROJECTION_INVALID', { target: 'documents', key: [null], row: {} }],
  [
    'a key that is no number',
    'PROJECTION_INVALID',
    { target: 'documents', key: [Number.NaN], row: {} },
  ],
  ['a row that is a list', 'PROJECTION_INVALID', { target: 'documents', key: ['a'], row: [] }],
  [
    'a row that is a date',
    'PROJECTION_INVALID',
    { target: 'documents', key: ['a'], row: new Date(0) },
  ],
  [
    'a row that is a map',
    'PROJECTION_INVALID',
    { target: 'documents', key: ['a'], row: new Map() },
  ],
  ['a row without a value', 'PROJECTION_INVALID', { target: 'documents', key: ['a'] }],
  ['a date in a row', 'VALUE_UNSUPPORTED', put('documents', ['a'], { at: new Date(0) } as never)],
  ['a function in a row', 'VALUE_UNSUPPORTED', put('documents', ['a'], { f: () => 1 } as never)],
  ['undefined in a row', 'VALUE_UNSUPPORTED', put('documents', ['a'], { u: undefined } as never)],
  ['a row that contains itself', 'VALUE_UNSUPPORTED', put('documents', ['a'], circular as never)],
  [
    'too many puts',
    'PROJECTION_INVALID',
    Array.from({ length: 10_001 }, () => put('documents', ['a'], {})),
  ],
])(
  '%s from a projection parks that key as %s, and the others go on',
  async (_what, code, returned) =>
    inFolder(async (dir) => {
      const project = (row: Row) =>
        row['sku'] === 'bad'
          ? (returned as ReturnType<RowProjection>)
          : put('documents', [row['sku'] as string], row);
      await using app = await openCopy(dir, { flow: { project } });
      const after = await write(app, { bad: '1', good: '1' });
      const [parked] = await parkedOf(app, 1);
      expect(parked?.error?.code).toBe(code);
      expect((await app.barrier('search', { after, within: WITHIN, ...about('good') })).kind).toBe(
        'fresh',
      );
      expect(copied(dir)).toEqual({ good: '1' });
    }),
);

test('what a fold puts that cannot be carried is parked before its state takes the change in', () =>
  inFolder(async (dir) => {
    const right = { is: false };
    const fold = {
      apply: async (
        { after }: { after: Row | null },
        state: Parameters<NonNullable<Parameters<typeof flow>[0]['fold']>['apply']>[1],
      ) => {
        const total = Number((await state.get('n')) ?? 0) + 1;
        state.set('n', total);
        const at = right.is ? null : (new Date(0) as never);
        return put('documents', ['all'], {
          sku: 'all',
          title: String(total),
          at: after?.['sku'] === 'bad' ? at : null,
        });
      },
    };
    await using app = await openCopy(dir, { flow: { project: undefined as never, fold } });
    await write(app, { bad: '1', good: '1' });
    const [parked] = await parkedOf(app, 1);
    expect(parked?.error?.code).toBe('PROJECTION_INVALID');
    expect(copied(dir)).toEqual({ all: '1' });
    right.is = true;
    expect(await ask(app, retryAll)).toBe(1);
    expect(copied(dir)).toEqual({ all: '2' });
  }));

test('a flow at its bound of parked work stops, hears what a person asks, and goes on', () =>
  inFolder(async (dir) => {
    const right = { is: false };
    const project = (row: Row) => {
      if (!right.is && (row['sku'] as string).startsWith('bad')) throw new Error('always');
      return put('documents', [row['sku'] as string], row);
    };
    const options = { flow: { project, parkedMax: 2, batchRows: 2 } };
    {
      await using app = await openCopy(dir, options);
      await write(app, { bad1: '1' });
      await write(app, { bad2: '1' });
      await parkedOf(app, 2);
      await write(app, { bad1: '2' });
      const { worker } = await stateOf(app, 'flow', 'failed', 'PARKED_FULL');
      expect(worker.kind === 'failed' && worker.message).toContain('tally parked APP.ts copy');
      // Still wrong: the retry applies nothing, and says so instead of keeping the person waiting.
      expect(await ask(app, retryAll)).toBe(0);
      await stateOf(app, 'flow', 'failed', 'PARKED_FULL');
    }
    await using app = await openCopy(dir, options);
    await stateOf(app, 'flow', 'failed', 'PARKED_FULL');
    right.is = true;
    expect(await ask(app, retryAll)).toBe(2);
    const after = await write(app, { last: '1' });
    expect(
      await until(
        async () => (copied(dir)['last'] === '1' ? true : undefined),
        () => app.status(),
      ),
    ).toBe(true);
    // What was queued behind the parked ones while it stopped has been parked no more, or comes with a retry.
    await ask(app, retryAll);
    expect((await app.barrier('search', { after, within: WITHIN })).kind).toBe('fresh');
    expect(copied(dir)).toEqual(owned(dir));
  }));

test('a row of 10 MiB goes through the whole flow', () =>
  inFolder(async (dir) => {
    await using app = await openCopy(dir);
    const { evidence: after } = await app.write('orders', (db) =>
      db
        .prepare('INSERT INTO products (sku, title, body) VALUES (?, ?, ?)')
        .run('big', 'big', 'é"\n'.repeat((10 * MEBIBYTE) / 4)),
    );
    expect((await app.barrier('search', { after, within: WITHIN })).kind).toBe('fresh');
    using source = new DatabaseSync(join(dir, 'orders.db'), { readOnly: true });
    using target = new DatabaseSync(join(dir, 'search.db'), { readOnly: true });
    const [owns] = source.prepare('SELECT body FROM products').all();
    const [has] = target
      .prepare("SELECT json_extract(document, '$.body') AS body FROM documents")
      .all();
    expect(has?.['body'] === owns?.['body']).toBe(true);
  }));

test('a row of 10 MiB that its target refuses is parked whole, and arrives when the limit is raised', () =>
  inFolder(async (dir) => {
    {
      await using app = await openCopy(dir, { target: { rowBytesMax: MEBIBYTE } });
      await app.write('orders', (db) =>
        db
          .prepare('INSERT INTO products (sku, title, body) VALUES (?, ?, ?)')
          .run('big', '1', 'x'.repeat(10 * MEBIBYTE)),
      );
      const after = await write(app, { small: '1' });
      const [parked] = await parkedOf(app, 1);
      expect(parked?.error?.code).toBe('ROW_TOO_LARGE');
      expect(parked?.error?.message).toContain('raise rowBytesMax');
      expect((await app.barrier('search', { after, within: WITHIN, ...about('small') })).kind).toBe(
        'fresh',
      );
      expect(copied(dir)).toEqual({ small: '1' });
    }
    await using app = await openCopy(dir);
    expect(await ask(app, retryAll)).toBe(1);
    expect(copied(dir)).toEqual(owned(dir));
  }));
