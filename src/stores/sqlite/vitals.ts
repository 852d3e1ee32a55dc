import { statSync } from 'node:fs';
import type { Vital, Vitals } from '../../ports/vitals.ts';
import type { Connection } from './connection.ts';
import { hasCapture } from './source/schema.ts';

/** What SQLite says about itself: pages, write-ahead log, free pages, and what capture retains. */
export function readVitals(connection: Connection): Vitals {
  const pragma = (name: string): number =>
    connection.guard(() =>
      Number(connection.prepareArrays(`PRAGMA ${name}`).get()?.[0 as never] ?? 0),
    );
  const version = String(
    connection.prepareArrays('SELECT sqlite_version()').get()?.[0 as never] ?? '',
  );
  const measures: Vital[] = [
    { name: 'page_count', value: pragma('page_count'), unit: 'count', about: 'Pages in the file.' },
    { name: 'page_size', value: pragma('page_size'), unit: 'bytes' },
    {
      name: 'freelist_count',
      value: pragma('freelist_count'),
      unit: 'count',
      about: 'Pages that are free for reuse; VACUUM gives them back.',
    },
    {
      name: 'wal_bytes',
      value: sizeOf(`${connection.file}-wal`),
      unit: 'bytes',
      about: 'The write-ahead log; it stays large while a reader keeps an old snapshot open.',
    },
    {
      name: 'data_version',
      value: pragma('data_version'),
      unit: 'count',
      about: 'Changes when another connection commits.',
    },
    {
      name: 'schema_version',
      value: pragma('schema_version'),
      unit: 'count',
      about: 'Changes with the definition of any table, index or trigger.',
    },
  ];
  return { system: 'sqlite', version, measures: [...measures, ...captureVitals(connection)] };
}

function captureVitals(connection: Connection): readonly Vital[] {
  if (!hasCapture(connection)) return [];
  const newest = connection
    .prepare(
      'SELECT coalesce(max(seq), 0) AS n, coalesce(min(seq), 0) AS oldest FROM _tally_changes',
    )
    .get();
  return [
    {
      name: 'captured_seq',
      value: Number(newest?.['n'] ?? 0),
      unit: 'position',
      about: 'The newest captured change.',
    },
    {
      name: 'oldest_seq',
      value: Number(newest?.['oldest'] ?? 0),
      unit: 'position',
      about: 'The oldest captured change that is still kept.',
    },
  ];
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
