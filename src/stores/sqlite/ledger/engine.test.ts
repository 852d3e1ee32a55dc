import { copyFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../../core/errors.ts';
import { armPoints } from '../../../observe/point.ts';
import type { LedgerOperation } from '../../../ports/ledger.ts';
import { LedgerEngine, mayFailAfterWriting } from './engine.ts';
import type { Step } from './messages.ts';
import { SCHEMA_VERSION } from './schema.ts';

let directory: string;
let file: string;
let engines: LedgerEngine[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tallystick-engine-'));
  file = join(directory, 'ledger.db');
  engines = [];
});

afterEach(() => {
  armPoints(undefined);
  for (const engine of engines) engine.close();
  rmSync(directory, { recursive: true, force: true });
});

function open(fileBytesMax?: number): LedgerEngine {
  const engine = new LedgerEngine({ file, where: 'ledger test', busyTimeoutMs: 20, fileBytesMax });
  engines.push(engine);
  return engine;
}

function put(key: string, value: string, ifVersion?: number): LedgerOperation {
  return { kind: 'put', space: 's', key, value, ...(ifVersion === undefined ? {} : { ifVersion }) };
}

function withCode(code: ErrorCode): object {
  return expect.objectContaining({ code }) as object;
}

describe('a flush', () => {
  test('that fails as a whole keeps nothing of any step, and the next one goes through', () => {
    const engine = open();
    armPoints((name) => {
      if (name === 'ledger.before-commit') throw new Error('planted');
    });
    expect(() => engine.flush([[put('a', '1')], [put('b', '1'), put('a', '2', 0)]])).toThrow(
      'planted',
    );
    armPoints(undefined);
    expect(engine.list('s', {})).toEqual([]);
    expect(engine.flush([[put('a', '1')]])).toEqual([[1]]);
  });

  test('on a full file fails with STORE_FULL and leaves the ledger usable', () => {
    const engine = open(128 * 1024);
    engine.flush([[put('kept', 'x')]]);
    const large = 'x'.repeat(100_000);
    expect(() => engine.flush([[put('small', 'x')], [put('a', large)], [put('b', large)]])).toThrow(
      withCode('STORE_FULL'),
    );
    expect(engine.list('s', {}).map((record) => record.key)).toEqual(['kept']);
    expect(engine.flush([[put('kept', 'y')]])).toHaveLength(1);
    expect(engine.get('s', 'kept')?.value).toBe('y');
  });

  test('on a file that another process keeps locked fails with STORE_BUSY until it is free', () => {
    const engine = open();
    const other = new DatabaseSync(file);
    other.exec('BEGIN IMMEDIATE');
    expect(() => engine.flush([[put('a', '1')]])).toThrow(
      expect.objectContaining({ code: 'STORE_BUSY', retryable: true }),
    );
    other.exec('ROLLBACK');
    other.close();
    expect(engine.flush([[put('a', '1')]])).toEqual([[1]]);
  });

  test('goes on from the versions that another process gave', () => {
    const [one, two] = [open(), open()];
    expect(one.flush([[put('a', '1')]])).toEqual([[1]]);
    expect(two.flush([[put('a', '2')], [put('b', '1')]])).toEqual([[2], [3]]);
    expect(one.flush([[put('b', '2', 3)]])).toEqual([[4]]);
  });

  test('of refused steps alone writes nothing to the file', () => {
    const engine = open();
    engine.flush([[put('a', '1')]]);
    const observer = new DatabaseSync(file);
    const changes = (): unknown => observer.prepare('PRAGMA data_version').get()?.['data_version'];
    const before = changes();
    const [outcome] = engine.flush([[put('a', '2', 0)]]);
    expect(outcome).toEqual(withCode('LEDGER_CONFLICT'));
    expect(changes()).toBe(before);
    engine.flush([[put('a', '2')]]);
    expect(changes()).not.toBe(before);
    observer.close();
  });
});

describe('a file', () => {
  test('written by a newer version is refused and left as it is', () => {
    open().close();
    const database = new DatabaseSync(file);
    database.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    database.close();
    expect(() => open()).toThrow(withCode('CONFIG_INVALID'));
    expect(() => open()).toThrow(/newer Tallystick/);
  });

  test('of another application is refused', () => {
    const database = new DatabaseSync(file);
    database.exec('CREATE TABLE invoices (id INTEGER PRIMARY KEY)');
    database.close();
    expect(() => open()).toThrow(withCode('CONFIG_INVALID'));
  });

  test('that is no database is refused with STORE_CORRUPT', () => {
    writeFileSync(file, 'not a database '.repeat(1_000));
    expect(() => open()).toThrow(withCode('STORE_CORRUPT'));
  });

  test('that is damaged is found with STORE_CORRUPT', () => {
    const engine = open();
    for (let round = 0; round < 20; round++) {
      engine.flush([Array.from({ length: 50 }, (_, at) => put(`${round} ${at}`, 'x'.repeat(100)))]);
    }
    engine.close();
    copyFileSync(file, `${file}.whole`);
    truncateSync(file, 3 * 4_096);
    expect(() => open().list('s', {})).toThrow(withCode('STORE_CORRUPT'));
    copyFileSync(`${file}.whole`, file);
    expect(open().list('s', {})).toHaveLength(1_000);
  });

  test('in a directory that does not exist cannot be reached', () => {
    file = join(directory, 'nowhere', 'ledger.db');
    expect(() => open()).toThrow(withCode('STORE_UNREACHABLE'));
  });
});

const guard: LedgerOperation = { kind: 'guard', lease: 'l', epoch: 1 };
const release: LedgerOperation = { kind: 'release', lease: 'l', epoch: 1 };
const remove: LedgerOperation = { kind: 'delete', space: 's', key: 'k' };

test.each<[string, Step, boolean]>([
  ['nothing', [], false],
  ['one conditional write', [put('a', '1', 0)], false],
  ['a guard, then writes that cannot be refused', [guard, put('a', '1'), remove], false],
  [
    'a conditional write, then one that cannot be refused',
    [put('a', '1', 0), put('b', '1')],
    false,
  ],
  ['two conditional writes', [put('a', '1', 0), put('b', '1', 0)], true],
  ['a write, then a guard', [put('a', '1'), guard], true],
  ['a write, then a conditional delete', [put('a', '1'), { ...remove, ifVersion: 1 }], true],
  ['two lease operations', [release, guard], true],
])('whether a step needs a savepoint: %s', (_name, step, expected) => {
  expect(mayFailAfterWriting(step)).toBe(expected);
});
