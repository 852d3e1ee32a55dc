import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { flow, put, tally, type TallyApp } from 'tallystick';
import { sqlite } from 'tallystick/sqlite';
import { inFolder } from '../../../test/support/copy-app.ts';
import type { Diagnose, StoreUse } from '../../ports/diagnose.ts';
import type { StoreDefinition } from '../../ports/store.ts';
import { systemClock } from '../../runtime/clock.ts';
import { doctorCommand } from './doctor.ts';

/** The store `orders`, which answers what `diagnose` says, and files that it flows into. */
function appIn(dir: string, diagnose: Diagnose): TallyApp {
  const orders = sqlite({ file: join(dir, 'orders.db') });
  const examined: StoreDefinition = {
    ...orders,
    open: async (context) => Object.assign(await orders.open(context), { diagnose }),
  };
  const copy = (tables: readonly string[], into: string): ReturnType<typeof flow> =>
    flow({
      from: 'orders',
      tables,
      to: 'copies',
      into,
      project: (row) => put(into, [row['sku'] as string], row),
    });
  return tally({
    name: 'doctored',
    dir: join(dir, 'own'),
    stores: { orders: examined, copies: sqlite({ file: join(dir, 'copies.db') }) },
    flows: { one: copy(['products'], 'one'), two: copy(['products', 'prices'], 'two') },
  });
}

async function doctor(
  app: TallyApp,
  options: { readonly json?: boolean; readonly store?: string } = {},
): Promise<{ readonly code: number; readonly out: string }> {
  let out = '';
  const code = await doctorCommand.run(
    {
      app: async () => app,
      file: 'app.ts',
      module: async () => ({ app, exported: {} }),
      rest: options.store === undefined ? [] : [options.store],
      options: {},
      json: options.json === true,
    },
    {
      out: (text) => (out += `${text}\n`),
      say: () => undefined,
      screen: false,
      clock: systemClock,
      signal: new AbortController().signal,
    },
  );
  return { code, out };
}

test('prints each finding with what mends it; a warning alone is no failure', () =>
  inFolder(async (dir) => {
    const uses: StoreUse[] = [];
    const app = appIn(dir, async (use) => {
      uses.push(use);
      return [
        { level: 'ok', check: 'disk', found: 'is there' },
        { level: 'warn', check: 'speed', found: 'is low', remedy: 'buy a faster one' },
      ];
    });
    const { code, out } = await doctor(app);
    expect(code).toBe(0);
    expect(out).toContain('orders (sqlite)\n  ok    disk: is there\n  warn  speed: is low\n');
    expect(out).toContain('\n        buy a faster one\n');
    expect(out).toContain('copies (sqlite)\n  ok    opens: there is nothing else to check\n');
    expect(uses).toEqual([{ tables: ['products', 'prices'], targets: [] }]);
  }));

test('exits with 1 if something does not work', () =>
  inFolder(async (dir) => {
    const broken = { level: 'fail', check: 'disk', found: 'is gone', remedy: 'find it' } as const;
    const app = appIn(dir, async () => [broken]);
    const { code, out } = await doctor(app, { json: true, store: 'orders' });
    expect(code).toBe(1);
    expect(JSON.parse(out)).toEqual({
      healthy: false,
      stores: [{ store: 'orders', system: 'sqlite', findings: [broken] }],
    });
    expect((await doctor(app, { store: 'copies' })).code).toBe(0);
    await expect(doctor(app, { store: 'copis' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  }));

test('a store that cannot be opened is a finding, and the others are still looked at', () =>
  inFolder(async (dir) => {
    const app = tally({
      name: 'doctored',
      dir: join(dir, 'own'),
      stores: {
        gone: sqlite({ file: join(dir, 'no-such-folder', 'a.db') }),
        there: sqlite({ file: join(dir, 'orders.db') }),
      },
    });
    const { code, out } = await doctor(app, { json: true });
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      stores: [
        {
          store: 'gone',
          findings: [
            {
              level: 'fail',
              check: 'opens',
              found: expect.stringMatching(/^STORE_UNREACHABLE: /),
              remedy: expect.any(String),
            },
          ],
        },
        { store: 'there', findings: [{ level: 'ok' }] },
      ],
    });
  }));

test('prepares nothing: neither capture nor targets, nor a folder of the application', () =>
  inFolder(async (dir) => {
    const app = appIn(dir, async () => []);
    await doctor(app);
    expect(existsSync(join(dir, 'own'))).toBe(false);
    await using orders = await sqlite({ file: join(dir, 'orders.db') }).open({
      name: 'orders',
      clock: systemClock,
      random: { next: () => 0, id: () => '' },
    });
    const made = orders.client.prepare(`SELECT name FROM sqlite_schema WHERE type = 'trigger'`);
    expect(made.all()).toEqual([]);
  }));
