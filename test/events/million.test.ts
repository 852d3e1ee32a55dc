import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { freshDatabase, hasPostgres } from '../support/servers.ts';

const flags = [
  '--disable-warning=ExperimentalWarning',
  '--conditions=tallystick-source',
  // The events alone would be several times as much.
  '--max-old-space-size=24',
];
const EVENTS = 20_000;

async function run(args: readonly string[]): Promise<unknown> {
  const file = join(import.meta.dirname, 'million.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...flags,
    file,
    `--events=${EVENTS}`,
    ...args,
  ]);
  return JSON.parse(stdout);
}

test('a long stream in SQLite is appended, replayed and loaded in a heap that could not hold it', async () => {
  expect(await run([])).toMatchObject({ engine: 'sqlite', events: EVENTS });
}, 60_000);

test.skipIf(!hasPostgres)(
  'a long stream in PostgreSQL, too',
  async () => {
    await using database = await freshDatabase();
    expect(await run([`--postgres=${database.url}`])).toMatchObject({ engine: 'postgres' });
  },
  60_000,
);
