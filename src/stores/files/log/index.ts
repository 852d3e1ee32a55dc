export { segmentLog, type SegmentLogDefinition, type SegmentLogOptions } from './segment-log.ts';
