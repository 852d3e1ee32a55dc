import type { SinkSupports } from '../../ports/sink.ts';

/** What a Neo4j sink can do, unless `rowBytesMax` is given. */
export const sinkSupports: SinkSupports = {
  effect: 'transactional',
  ordinalFence: true,
  foldState: true,
  // Readers find nodes by their label; a second generation would have to live under other labels.
  switchOver: false,
  // 4 MiB: a transaction is in the memory of the server until it commits.
  rowBytesMax: 4_194_304,
};

/** The longest key, as the bytes of its text: what an index of Neo4j takes (8 KiB), with room for the name of the target. */
export const KEY_BYTES_MAX = 7_000;
