import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startPostgres } from '../../servers/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { ended } from '../support/ended.ts';
import { tempDir } from '../support/scenario.ts';
import { freshDatabase, hasPostgres } from '../support/servers.ts';
import {
  applied,
  ask,
  converged,
  eventually,
  ITEMS,
  openCopy,
  put1,
  rows,
  verdict,
  type CopyParts,
} from '../support/postgres-app.ts';

const path = tempDir();
const kept = ended();

async function parts(): Promise<CopyParts> {
  const owner = kept(await startPostgres());
  await ask(owner.url, ITEMS);
  return { dir: path('tally'), from: owner.url, to: kept(await freshDatabase()).url };
}

function startWorker({ dir, from, to }: CopyParts): ChildProcess & AsyncDisposable {
  const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
  const file = join(import.meta.dirname, 'postgres-copy-worker.ts');
  const child = spawn(process.execPath, [...flags, file, dir, from, to], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return kept(Object.assign(child, { [Symbol.asyncDispose]: stop }));
}

async function count(url: string): Promise<number> {
  const [row] = await ask(url, 'SELECT count(*)::int AS n FROM copies');
  return Number(row?.['n']);
}

describe.skipIf(!hasPostgres)('workers', () => {
  test('T19 killed again and again in a backfill under heavy writes, others take over; nothing is lost, doubled or moved back', async () => {
    const all = await parts();
    const total = 30_000;
    await ask(
      all.from,
      `INSERT INTO items SELECT n, 'old ' || n FROM generate_series(1, ${total}) n`,
    );
    const state = { isOver: false };
    const writing = (async () => {
      for (let id = total; !state.isOver; id += 10) {
        await ask(
          all.from,
          `INSERT INTO items SELECT n, 'new ' || n FROM generate_series(${id + 1}, ${id + 10}) n;
           UPDATE items SET n = n + 1, name = 'changed ' || n WHERE id % 1000 = ${id % 1000};
           DELETE FROM items WHERE id % 997 = ${id % 997}`,
        );
        await systemClock.sleep(10);
      }
    })();
    let standby = startWorker(all);
    for (const share of [0.1, 0.4, 0.7]) {
      const worker = standby;
      standby = startWorker(all);
      await eventually(
        async () => ((await count(all.to)) >= total * share ? true : undefined),
        `${share} of the rows`,
      );
      await worker[Symbol.asyncDispose]();
    }
    await eventually(
      async () => ((await count(all.to)) >= total * 0.9 ? true : undefined),
      'the rest of the rows',
    );
    state.isOver = true;
    await writing;
    const web = kept(await openCopy(all, { run: false, owner: 'web' }));
    await converged(web, all);
  }, 240_000);

  test('T14 suspended while another takes over, a worker that wakes changes nothing', async () => {
    const all = await parts();
    const first = startWorker(all);
    const web = kept(await openCopy(all, { run: false, owner: 'web' }));
    await applied(web, await put1(web, 1, 'by the first'));
    first.kill('SIGSTOP');
    const app = kept(await openCopy(all, { owner: 'second' }));
    // Its lease runs out.
    await applied(app, await put1(web, 2, 'by the second'));
    const evidence = await put1(web, 1, 'changed since');
    await applied(app, evidence);
    first.kill('SIGCONT');
    for (let id = 3; id < 100; id += 1) {
      await put1(web, id, 'more');
      await systemClock.sleep(5);
    }
    await converged(app, all);
    expect(await verdict(web, evidence)).toBe('fresh');
    expect((await rows(all.to, 'copies'))[0]).toMatchObject({ name: 'changed since' });
  }, 120_000);

  test('T24 T1 whose target is killed under load, holds rows and checkpoint of one moment', async () => {
    const owner = await parts();
    const target = kept(await startPostgres());
    const all = { ...owner, to: target.url };
    const app = kept(await openCopy(all));
    let id = 0;
    for (let kill = 0; kill < 3; kill += 1) {
      const state = { isOver: false };
      const killing = (async () => {
        await systemClock.sleep(200);
        await target.kill();
        await target.restart();
        state.isOver = true;
      })();
      while (!state.isOver) {
        await put1(app, (id += 1), 'under load');
        await put1(app, Math.ceil(id / 2), 'again');
      }
      await killing;
    }
    await converged(app, all);
  }, 120_000);

  test('T1 whose owner is killed under load, miss and double nothing that was committed', async () => {
    const owner = kept(await startPostgres());
    await ask(owner.url, ITEMS);
    const all = { dir: path('tally'), from: owner.url, to: kept(await freshDatabase()).url };
    const app = kept(await openCopy(all));
    const written = new Map<number, string>();
    let id = 0;
    for (let kill = 0; kill < 3; kill += 1) {
      const state = { isOver: false };
      const killing = (async () => {
        await systemClock.sleep(200);
        await owner.kill();
        await systemClock.sleep(100);
        await owner.restart();
        state.isOver = true;
      })();
      while (!state.isOver) {
        id += 1;
        const name = `written ${id}`;
        // What failed may be there or not; what was confirmed has to be.
        await put1(app, id, name).then(
          () => written.set(id, name),
          () => systemClock.sleep(20),
        );
      }
      await killing;
    }
    await converged(app, all);
    const there = new Map(
      (await rows(all.to, 'copies')).map((row) => {
        const { id: key, name } = row as { readonly id: number; readonly name: string };
        return [key, name];
      }),
    );
    for (const [key, name] of written) expect(there.get(key)).toBe(name);
  }, 120_000);
});
