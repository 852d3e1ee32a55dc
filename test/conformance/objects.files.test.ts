import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { objectsConformance, type ObjectsSubject } from '../../src/conformance/objects.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { files, objectsSupports } from '../../src/stores/files/index.ts';

// Keys of a thousand directories, each of them synced, would take seconds.
objectsConformance({ test, supports: objectsSupports, open: openSubject });

async function openSubject(): Promise<ObjectsSubject> {
  const dir = await mkdtemp(join(tmpdir(), 'tallystick-files-'));
  const open = (): ReturnType<ReturnType<typeof files>['open']> =>
    files({ dir, fsync: 'os' }).open({ name: 'files', clock: systemClock, random: systemRandom });
  let store = await open();
  const dropped = [store];
  return {
    get objects() {
      return store.objects;
    },
    async reopen() {
      // The one before is left as it is: a crash closes nothing.
      store = await open();
      dropped.push(store);
    },
    close: () => store.close(),
    async dispose() {
      for (const one of dropped) await one.close();
      await rm(dir, { recursive: true });
    },
  };
}
