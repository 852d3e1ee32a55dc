import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CrashPoint } from '../../src/observe/point.ts';
import { freshDatabase, freshRedis, hasPostgres, hasRedis } from '../support/servers.ts';
import { runUntilKilled, type Kill } from './child.ts';
import { fateOf, keyOf, openApplier, type Kind } from './effects-applier.ts';

interface Place extends AsyncDisposable {
  readonly at: string;
  readonly prefix: string;
}

async function placeOf(kind: Kind): Promise<Place> {
  if (kind === 'postgres') {
    const database = await freshDatabase();
    const dispose = (): PromiseLike<void> => database[Symbol.asyncDispose]();
    return { at: database.url, prefix: '', [Symbol.asyncDispose]: dispose };
  }
  if (kind === 'redis') {
    const keys = await freshRedis();
    const dispose = (): PromiseLike<void> => keys[Symbol.asyncDispose]();
    return { at: keys.url, prefix: keys.prefix, [Symbol.asyncDispose]: dispose };
  }
  const at = await mkdtemp(join(tmpdir(), 'tally-effects-crash-'));
  const dispose = (): Promise<void> => rm(at, { recursive: true, force: true });
  return { at, prefix: '', [Symbol.asyncDispose]: dispose };
}

/** The account holds exactly what the markers say, whose numbers below `settled` are what they were to become. */
async function check(kind: Kind, { at, prefix }: Place, settled: number): Promise<void> {
  await using account = await openApplier(kind, at, prefix);
  let sum = 0;
  for (let number = 0; number <= settled; number += 1) {
    const { kind: state } = await account.effects.probe(keyOf(number), account.place(number));
    if (state === 'done') sum += number;
    if (number < settled)
      expect(state, `number ${number}`).toBe(fateOf(number) === 'done' ? 'done' : 'undone');
  }
  expect(await account.total()).toBe(sum);
}

async function killed(kind: Kind, kills: readonly Kill[]): Promise<void> {
  await using place = await placeOf(kind);
  let settled = 0;
  for (const how of kills) {
    const args = [kind, place.at, place.prefix, String(settled)];
    settled = Math.max(settled, await runUntilKilled('effects-applier.ts', args, how));
    await check(kind, place, settled);
  }
}

const anywhere: readonly CrashPoint[] = [
  'effects.before-effect',
  'effects.after-effect-before-answer',
];
const points: Readonly<Record<Kind, readonly CrashPoint[]>> = {
  sqlite: [...anywhere, 'effects.before-commit'],
  postgres: [...anywhere, 'effects.before-commit'],
  redis: anywhere,
  files: anywhere,
  entries: anywhere,
};

for (const kind of Object.keys(points) as readonly Kind[]) {
  const isThere = {
    postgres: hasPostgres,
    redis: hasRedis,
    sqlite: true,
    files: true,
    entries: true,
  };
  describe.skipIf(!isThere[kind])(`effects in ${kind}, killed and begun again`, () => {
    for (const point of points[kind])
      test(`are what their markers say after SIGKILL at ${point}`, async () => {
        await killed(kind, [{ crash: `${point}:1` }, { crash: `${point}:6` }]);
      });

    test('are what their markers say after SIGKILL at any moment', async () => {
      await killed(kind, [{ killAfterLines: 7 }, { killAfterLines: 12 }]);
    });
  });
}
