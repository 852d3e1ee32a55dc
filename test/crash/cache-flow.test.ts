import { open } from 'tallystick';
import { expect, test } from 'vitest';
import type { CrashPoint } from '../../src/observe/point.ts';
import { cacheFlowApp, embeddedWorld } from '../support/cache-flow.ts';
import { rowsOf, tempDir } from '../support/scenario.ts';
import { runUntilKilled } from './child.ts';

const path = tempDir();
const KEYS = 10;
const WRITES = 60;

/** Those that a flow into a cache passes, and how often a story passes one before it is killed there. */
const points: readonly (readonly [CrashPoint, readonly number[]])[] = [
  ['sink.mid-reset', [1]],
  ['flow.after-snapshot-before-stream', [1]],
  ['sink.before-apply', [1, 5]],
  ['sink.after-apply-before-checkpoint', [1, 5]],
  ['sink.after-commit', [3]],
  ['flow.after-apply-before-progress', [3]],
  ['capture.after-append-before-acknowledge', [3]],
];

for (const [point, counts] of points)
  for (const count of counts)
    test(`a process killed at ${point}, time ${count}, started again, answers nothing stale`, async () => {
      const world = await embeddedWorld(path());
      const ids = Array.from({ length: KEYS }, (_, index) => String(index));
      await world.run(
        `INSERT INTO items VALUES ${ids.map((id) => `(${id}, 'w0', 'a')`).join(', ')}`,
      );
      await runUntilKilled('cache-flow-worker.ts', [path(), String(WRITES), String(KEYS)], {
        crash: `${point}:${count}`,
      });
      // And one more while nobody was there to hear of it.
      await world.run("UPDATE items SET name = 'unheard' WHERE id = 3");
      await using app = await open(cacheFlowApp(path(), world));
      expect(await app.barrier('names', { maxStale: 0, within: '60s' })).toEqual({ kind: 'fresh' });
      expect(await app.caches.names.getMany(ids)).toEqual(
        rowsOf(`${path()}/shop.db`, 'SELECT name FROM items ORDER BY id').map(
          (row) => (row as { readonly name: string }).name,
        ),
      );
    });
