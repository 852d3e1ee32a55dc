import { lstat, readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Vital, Vitals } from '../../ports/vitals.ts';
import { filesError } from './errors.ts';
import type { Areas } from './objects/disk.ts';
import { walkKeys } from './objects/walk.ts';

/** Files looked at for one answer; past it the counts are lower bounds, and say so. */
const COUNTED_MAX = 10_000;

/** What the file system says of a store: objects, free space, what is unfinished or remembered. */
export async function readVitals(areas: Areas): Promise<Vitals> {
  try {
    const [objects, tombstones, temporary, uploads, volume] = await Promise.all([
      countObjects(areas.objects),
      countTombstones(areas.flows),
      readdir(areas.temporary),
      readdir(areas.uploads),
      statfs(areas.root),
    ]);
    const measures: Vital[] = [
      {
        name: 'objects',
        value: objects.count,
        unit: 'count',
        about: `Files of objects, tombstones included; counting ends at ${COUNTED_MAX}.`,
      },
      {
        name: 'object_bytes',
        value: objects.bytes,
        unit: 'bytes',
        about: 'What the counted files hold, trailers included.',
      },
      {
        name: 'counted',
        value: objects.whole && tombstones.whole ? 'all' : 'in part',
        about: 'Whether the counts are whole, or lower bounds.',
      },
      {
        name: 'tombstones',
        value: tombstones.count,
        unit: 'count',
        about: 'Deletes that sinks remember until they are pruned.',
      },
      {
        name: 'temporary_files',
        value: temporary.length,
        unit: 'count',
        about: 'Writes under way, or left by a crash until the next sweep.',
      },
      {
        name: 'uploads',
        value: uploads.length,
        unit: 'count',
        about: 'Multipart uploads under way.',
      },
      {
        name: 'free_bytes',
        value: volume.bavail * volume.bsize,
        unit: 'bytes',
        about: 'Free space of the volume for this process.',
      },
      { name: 'free_files', value: volume.ffree, unit: 'count', about: 'Inodes that are free.' },
    ];
    return { system: 'files', version: process.platform, measures };
  } catch (error) {
    throw filesError(error, areas.root);
  }
}

async function countObjects(
  root: string,
): Promise<{ readonly count: number; readonly bytes: number; readonly whole: boolean }> {
  let count = 0;
  let bytes = 0;
  for await (const { path } of walkKeys(root, { prefix: '', after: '' })) {
    if (count === COUNTED_MAX) return { count, bytes, whole: false };
    count += 1;
    bytes += (await lstat(path).catch(() => undefined))?.size ?? 0;
  }
  return { count, bytes, whole: true };
}

async function countTombstones(
  flows: string,
): Promise<{ readonly count: number; readonly whole: boolean }> {
  let count = 0;
  for (const flow of await readdir(flows)) {
    const notes = walkKeys(join(flows, flow, 'tombstones'), { prefix: '', after: '' });
    while ((await notes.next()).done !== true) {
      if (count === COUNTED_MAX) return { count, whole: false };
      count += 1;
    }
  }
  return { count, whole: true };
}
