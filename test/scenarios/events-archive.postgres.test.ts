import { describe, expect, test } from 'vitest';
import { flow, open, put, tally } from 'tallystick';
import { aggregates } from 'tallystick/events';
import { memory } from 'tallystick/memory';
import { postgres } from 'tallystick/postgres';
import { query } from '../../servers/postgres.ts';
import { accountDecider } from '../support/account.ts';
import { ask, fresh, tempDir } from '../support/scenario.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';

const dir = tempDir();
const views = flow({
  from: 'bank',
  tables: ['events'],
  to: 'views',
  into: 'views',
  project: ({ stream, version }) => put('views', [String(stream)], { version: version ?? null }),
});

describe.skipIf(!hasPostgres)('archiving, as the documentation says', () => {
  test('takes an ended stream out; what is left is read, rebuilt and appended to as before', async () => {
    await using database = await freshDatabase();
    await using app = await open(
      tally({
        name: 'bank',
        dir: dir('tally'),
        stores: { bank: postgres({ url: database.url, capture: 'events' }), views: memory() },
        flows: { views },
      }),
    );
    const { events } = app.stores.bank;
    const accounts = aggregates(accountDecider(), { events });
    for (const id of ['ended', 'ada']) await accounts.handle(id, { kind: 'open', owner: id });
    await accounts.handle('ended', { kind: 'close' });
    await accounts.handle('ada', { kind: 'deposit', cents: 5 });
    await fresh(app, 'views', await app.evidenceAt('bank', 4));

    const remove = `DELETE FROM _tally.events WHERE stream = 'account-ended'`;
    await expect(query(database.url, remove)).rejects.toThrow('never changed or removed');
    await query(
      database.url,
      `BEGIN;
       CREATE TABLE archived AS SELECT * FROM _tally.events WHERE stream = 'account-ended';
       ALTER TABLE _tally.events DISABLE TRIGGER events_refuse;
       ${remove};
       ALTER TABLE _tally.events ENABLE TRIGGER events_refuse;
       COMMIT`,
    );
    await expect(query(database.url, 'DELETE FROM _tally.events')).rejects.toThrow('never changed');

    expect(await events.version('account-ended')).toBe(0);
    const positions: number[] = [];
    for await (const page of events.readAll())
      positions.push(...page.events.map(({ position }) => position));
    expect(positions).toEqual([2, 4]);
    const done = await accounts.handle('ada', { kind: 'deposit', cents: 7 });
    expect(done).toMatchObject({ version: 3, state: { cents: 12 } });
    expect(await events.head()).toBe(5);

    await ask(app, { of: 'flow', flow: 'views', request: { kind: 'rebuild' } });
    await fresh(app, 'views', await app.evidenceAt('bank', 5));
    expect(Object.fromEntries(app.stores.views.client.rows('views'))).toEqual({
      '["account-ada"]': { version: 3 },
    });
  }, 40_000);
});
