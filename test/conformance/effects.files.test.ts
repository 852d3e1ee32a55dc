import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { effectsConformance } from '../../src/conformance/effects.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { files } from '../../src/stores/files/index.ts';
import { objectSubject } from './effects-subjects.ts';

effectsConformance({
  test,
  supports: {
    unit: 'object',
    locks: false,
    resultBytesMax: 1_024,
    retentionMs: 30 * 24 * 3_600_000,
  },
  open: async () => {
    const dir = await mkdtemp(join(tmpdir(), 'tally-effects-'));
    const open = () =>
      files({ dir, fsync: 'os' }).open({
        name: 'labels',
        clock: systemClock,
        random: systemRandom,
      });
    let store = await open();
    return objectSubject({
      port: () => store.objects,
      reopen: async () => {
        await store.close();
        store = await open();
      },
      dispose: async () => {
        await store.close();
        await rm(dir, { recursive: true, force: true });
      },
    });
  },
});
