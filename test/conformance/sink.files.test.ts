import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { sinkConformance, type SinkSubject } from '../../src/conformance/sink.ts';
import { decodeRow } from '../../src/core/codec.ts';
import { must } from '../../src/core/errors.ts';
import type { Row } from '../../src/core/row.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { files, sinkSupports, type FilesStore } from '../../src/stores/files/index.ts';
import { keyBytes, pathOfKey } from '../../src/stores/files/objects/key-path.ts';
import { readTrailerAt } from '../../src/stores/files/objects/trailer.ts';

// Small enough for the suite to meet; durability is the same, and the crash tests run without it.
const rowBytesMax = 65_536;

sinkConformance({ test, supports: { ...sinkSupports, rowBytesMax }, open: openSubject });

async function openSubject(): Promise<SinkSubject> {
  const dir = await mkdtemp(join(tmpdir(), 'tallystick-files-'));
  const open = (): Promise<FilesStore> =>
    files({ dir, rowBytesMax, fsync: 'os' }).open({
      name: 'files',
      clock: systemClock,
      random: systemRandom,
    });
  let store = await open();
  const dropped = [store];
  return {
    get sink() {
      return store.sink;
    },
    read: (target) => readRows(store, target),
    async reopen() {
      store = await open();
      dropped.push(store);
    },
    async dispose() {
      for (const one of dropped) await one.close();
      await rm(dir, { recursive: true });
    },
  };
}

/** What readers find by listing, under the row's own key, which the object keeps beside its fence. */
async function readRows(store: FilesStore, target: string): Promise<ReadonlyMap<string, Row>> {
  const rows = new Map<string, Row>();
  for await (const { key } of store.objects.list(`${target}/`)) {
    const path = pathOfKey(join(store.client.dir, 'objects'), keyBytes(key));
    const version = must((await readTrailerAt(path))?.version, `the version of ${key}`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of must(await store.objects.get(key), key).body) chunks.push(chunk);
    rows.set(version.key, decodeRow(Buffer.concat(chunks).toString('utf8')));
  }
  return rows;
}
