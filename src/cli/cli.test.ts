import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { appFile, json, start, tallyCommand, type Ended } from '../../test/support/cli.ts';
import { copied, inFolder, owned, until } from '../../test/support/copy-app.ts';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '../runtime/clock.ts';
import { commands, runCommandLine } from './run.ts';

const names = Object.keys(commands);

/** Runs a command line in this process: what it says does not depend on being one of its own. */
async function here(args: readonly string[]): Promise<Ended> {
  const ended = { out: '', said: '' };
  const code = await runCommandLine(args, {
    out: (text) => (ended.out += `${text}\n`),
    say: (text) => (ended.said += `${text}\n`),
    screen: false,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return { code, signal: null, ...ended };
}

describe('called wrongly, it exits with 2 and says how it is called', () => {
  test.each<[args: readonly string[], says: string]>([
    [['stauts', 'app.ts'], 'there is no command stauts; did you mean status?'],
    [['frobnicate'], 'there is no command frobnicate'],
    [['__proto__'], 'there is no command __proto__'],
    [['status', appFile, '--jsn'], 'there is no option --jsn; did you mean --json?'],
    [['status', appFile, '-x'], '-x'],
    [['status'], 'the file that declares the application is missing'],
    [['status', appFile, 'more'], '1 arguments after the file do not fit'],
    [['rebuild', appFile], '0 arguments after the file do not fit'],
    [['parked', appFile, 'copy', '--retry'], '--retry'],
  ])('%j', async (args, says) => {
    const ended = await here(args);
    expect(ended).toMatchObject({ code: 2, out: '' });
    expect(ended.said).toContain(says);
  });

  test('without a command it lists them', async () => {
    const ended = await here([]);
    expect(ended.code).toBe(2);
    for (const name of names) expect(ended.out).toContain(`tally ${name}`);
  });
});

describe('asked for help, it exits with 0', () => {
  test.each(['--help', 'help'])('%s lists every command', async (word) => {
    const ended = await here([word]);
    expect(ended).toMatchObject({ code: 0, said: '' });
    for (const { about } of Object.values(commands)) expect(ended.out).toContain(about);
  });

  test.each(names)('%s --help says what its options do', async (name) => {
    const ended = await here([...name.split(' '), '--help']);
    expect(ended).toMatchObject({ code: 0, said: '' });
    expect(ended.out).toContain(commands[name]?.usage);
    for (const option of Object.keys(commands[name]?.options ?? {}))
      expect(ended.out).toContain(`--${option}`);
  });

  test('--version is that of the package', async () => {
    const ended = await here(['--version']);
    expect(ended.code).toBe(0);
    expect(ended.out.trim()).toMatch(/^\d+\.\d+\.\d+/);
  });
});

describe('what fails exits with 1, its code, and as JSON if asked', () => {
  test('a file that is not there', async () => {
    const ended = await tallyCommand(['status', 'missing.ts', '--json']);
    expect(ended).toMatchObject({ code: 1, said: '' });
    expect(json(ended)).toMatchObject({
      error: { code: 'CONFIG_INVALID', message: expect.stringContaining('missing.ts') },
    });
    const plain = await tallyCommand(['status', 'missing.ts']);
    expect(plain).toMatchObject({ code: 1, out: '' });
    expect(plain.said).toMatch(/^tally: CONFIG_INVALID: the file cannot be read/);
  });

  test.each([
    ['exports no application', 'export const app = 1;', 'does not export an application'],
    [
      'exports something else',
      'export default { name: "shop" };',
      'does not export an application',
    ],
    ['does not parse', 'export default tally({', 'failed to load'],
    ['throws', 'throw new Error("no password");', 'no password'],
    [
      'declares what cannot work',
      "import { tally } from 'tallystick'; export default tally({ name: 'a', stors: {} });",
      'did you mean stores?',
    ],
  ])('a file that %s', async (_what, source, says) =>
    inFolder(async (dir) => {
      const file = join(dir, 'app.ts');
      await writeFile(file, source.replaceAll("'tallystick'", JSON.stringify(entryFile)));
      const ended = await tallyCommand(['status', file]);
      expect(ended).toMatchObject({ code: 1, out: '' });
      expect(ended.said).toMatch(/^tally: CONFIG_/);
      expect(ended.said).toContain(says);
    }),
  );

  test('status, parked and requests of an application that never ran: its ledger is not made for it', () =>
    inFolder(async (dir) => {
      for (const args of [
        ['status', appFile],
        ['parked', appFile],
        ['rebuild', appFile, 'copy'],
        ['resnapshot', appFile, 'orders'],
      ]) {
        const ended = await tallyCommand([...args, '--json'], { COPY_DIR: dir });
        expect(ended.code).toBe(1);
        expect(json(ended)).toMatchObject({
          error: { code: 'STORE_UNREACHABLE', message: expect.stringContaining('run tally up') },
        });
      }
    }));

  test('a misspelt flow or store, with the name that was meant, and leaves no request behind', () =>
    inFolder(async (dir) => {
      for (const [args, meant] of [
        [['rebuild', appFile, 'cpy'], 'copy'],
        [['parked', appFile, 'copi'], 'copy'],
        [['resnapshot', appFile, 'order'], 'orders'],
        [['evidence', appFile, 'serch'], 'search'],
      ] as const) {
        const ended = await tallyCommand([...args, '--json'], { COPY_DIR: dir });
        expect(ended.code).toBe(1);
        expect(json(ended)).toMatchObject({
          error: {
            code: 'CONFIG_INVALID',
            message: expect.stringContaining(`did you mean ${meant}?`),
          },
        });
      }
    }));

  test('up of an application whose store cannot be opened, with the file', () =>
    inFolder(async (dir) => {
      await mkdir(join(dir, 'search.db'));
      const ended = await tallyCommand(['up', appFile, '--json'], { COPY_DIR: dir });
      expect(ended.code).toBe(1);
      expect(json(ended)).toMatchObject({
        error: { code: 'STORE_UNREACHABLE', message: expect.stringContaining('search.db') },
      });
    }));
});

const entryFile = join(import.meta.dirname, '..', 'index.ts');

test('the whole story: up, status, parked, rebuild, resnapshot, evidence, a graceful stop', () =>
  inFolder(async (dir) => {
    const env = { COPY_DIR: dir };
    const command = (...args: readonly string[]) => tallyCommand([...args, '--json'], env);
    const insert = (sku: string, title: string): void => {
      using db = new DatabaseSync(join(dir, 'orders.db'), { timeout: 5_000 });
      db.prepare('INSERT INTO products (sku, title) VALUES (?, ?)').run(sku, title);
    };
    insert('first', '1');
    await using worker = start(['up', appFile, '--json'], env);
    const status = await until(async () => {
      const asked = await command('status', appFile);
      return asked.code === 0 ? json(asked) : undefined;
    });
    expect(status).toMatchObject({
      running: true,
      workers: [
        {
          app: 'copy',
          alive: true,
          lanes: [{ lane: 'orders', worker: { kind: 'running' } }],
          flows: [{ flow: 'copy', from: 'orders', to: 'search', worker: { kind: 'running' } }],
        },
      ],
    });
    expect((await tallyCommand(['status', appFile], env)).out).toContain('orders → copy → search');

    insert('bad', '1');
    await until(async () =>
      (json(await command('parked', appFile))['parked'] as unknown[]).length === 1
        ? true
        : undefined,
    );
    expect(json(await command('parked', appFile, 'copy', '--retry-all'))).toEqual({
      flow: 'copy',
      done: 0,
    });
    expect(await command('parked', appFile, '--retry-all')).toMatchObject({ code: 1 });
    expect(
      json(await command('parked', appFile, 'copy', '--drop', 'source products ["bad"]')),
    ).toEqual({ flow: 'copy', done: 1 });

    expect(json(await command('rebuild', appFile, 'copy'))).toEqual({
      flow: 'copy',
      generation: 2,
    });
    expect(json(await command('resnapshot', appFile, 'orders'))).toEqual({
      store: 'orders',
      epoch: 2,
    });
    insert('last', '1');
    await until(() => (copied(dir)['last'] === '1' ? true : undefined));
    expect(Object.keys(owned(dir))).toEqual(['bad', 'first', 'last']);
    expect(Object.keys(copied(dir))).toEqual(['first', 'last']);

    const evidence = await command('evidence', appFile);
    expect(evidence.code).toBe(0);
    expect(json(evidence)).toMatchObject({
      stores: [
        { store: 'orders', vitals: { system: 'sqlite' } },
        { store: 'search', vitals: { system: 'sqlite' } },
      ],
    });
    expect((await tallyCommand(['evidence', appFile, 'orders'], env)).out).toMatch(
      /^orders \(sqlite/,
    );

    const stopped = await worker.kill('SIGINT');
    expect(stopped).toMatchObject({ code: 0, signal: null });
    expect(stopped.said).toContain('stopping at the next batch boundaries');
    for (const line of stopped.out.trim().split('\n'))
      expect(JSON.parse(line)).toHaveProperty('app');

    const after = await command('status', appFile);
    expect(after.code).toBe(1);
    expect(json(after)).toMatchObject({ running: false, workers: [{ alive: false }] });
    const kept = await tallyCommand(['rebuild', appFile, 'copy'], env);
    expect(kept).toMatchObject({ code: 1, out: '' });
    expect(kept.said).toContain('no worker runs; the request is kept');
    // The next worker does what was asked while none ran.
    await using next = start(['up', appFile, '--json'], env);
    await until(async () => (generationOf(dir) === 3 ? true : undefined));
    expect((await next.kill('SIGTERM')).code).toBe(0);
    expect(Object.keys(copied(dir))).toEqual(['first', 'last']);
  }));

/** The generation that readers of the target see, as its own table says. */
function generationOf(dir: string): number | undefined {
  using db = new DatabaseSync(join(dir, 'search.db'));
  const row = db.prepare('SELECT generation FROM _tally_flows').get();
  return row === undefined ? undefined : Number(row['generation']);
}
