export { files, type FilesClient, type FilesOptions, type FilesStore } from './store.ts';
export { objectsSupports, sinkSupports } from './supports.ts';
export type { Fsync } from './objects/disk.ts';
export type { Swept } from './objects/sweep.ts';
export { segmentLog, type SegmentLogDefinition, type SegmentLogOptions } from './log/index.ts';
