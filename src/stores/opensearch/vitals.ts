import type { Vital, Vitals } from '../../ports/vitals.ts';
import type { OpenSearchParts } from './parts.ts';
import { readInfo, readShards } from './info.ts';

/** What the server says about itself and the indices of this store. */
export async function readVitals(parts: OpenSearchParts): Promise<Vitals> {
  const { distribution, number } = await readInfo(parts);
  const shards = await readShards(parts);
  const primaries = shards.filter(({ routing }) => routing.primary);
  const sum = (of: (shard: (typeof shards)[number]) => number | undefined): number =>
    primaries.reduce((total, shard) => total + (of(shard) ?? 0), 0);
  const measures: readonly Vital[] = [
    count('primary_shards', primaries.length, 'Primary shards of the indices of this store.'),
    count(
      'documents',
      sum((shard) => shard.docs?.count),
      'Documents, tombstones among them.',
    ),
    count(
      'documents_deleted',
      sum((shard) => shard.docs?.deleted),
      'Older versions that merging has not yet removed.',
    ),
    count(
      'segments',
      sum((shard) => shard.segments?.count),
      'Segments; every refresh makes one, merging takes them away.',
    ),
    bytes(
      'store_size',
      sum((shard) => shard.store?.size_in_bytes),
      'Bytes on disk.',
    ),
    count(
      'translog_uncommitted_operations',
      sum((shard) => shard.translog?.uncommitted_operations),
      'Operations that are in the translog only: a restart plays them again.',
    ),
    bytes(
      'translog_uncommitted_size',
      sum((shard) => shard.translog?.uncommitted_size_in_bytes),
      'Their bytes.',
    ),
    count(
      'refreshes',
      sum((shard) => shard.refresh?.total),
      'Refreshes since the start.',
    ),
    ...primaries.flatMap(({ index, shard, seq_no: places }): readonly Vital[] =>
      places === undefined
        ? []
        : [
            place(
              `${index}[${shard}].max_seq_no`,
              places.max_seq_no,
              'The last operation of this shard.',
            ),
            place(
              `${index}[${shard}].global_checkpoint`,
              places.global_checkpoint,
              'All copies of the shard have every operation up to it.',
            ),
          ],
    ),
  ];
  return { system: distribution, version: number, measures };
}

function count(name: string, value: number, about: string): Vital {
  return { name, value, unit: 'count', about };
}

function bytes(name: string, value: number, about: string): Vital {
  return { name, value, unit: 'bytes', about };
}

function place(name: string, value: number, about: string): Vital {
  return { name, value, unit: 'position', about };
}
