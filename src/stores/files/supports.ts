import type { ObjectsSupports } from '../../ports/objects.ts';
import type { SinkSupports } from '../../ports/sink.ts';

/** What the file system can do as a store of objects. */
export const objectsSupports: ObjectsSupports = {
  conditionalPut: true,
  multipart: true,
  // 16 TiB, the largest file of ext4; other file systems end earlier, and say so as STORE_FULL.
  objectBytesMax: 17_592_186_044_416,
};

/** What the file system can do as a sink, unless `rowBytesMax` is given. */
export const sinkSupports: SinkSupports = {
  effect: 'fenced',
  ordinalFence: true,
  foldState: false,
  // Readers find an object by its key alone; a second generation would have to live under other keys.
  switchOver: false,
  // 16 MiB: sixteen rows are in memory at once.
  rowBytesMax: 16_777_216,
  // The keys 1 and '1' would share the object `target/1`; the second one is refused.
  typedKeys: false,
};
