export { analyse, type AnalyseOptions, type Analysis, type Extract } from './analyse.ts';
export type {
  DuckdbAppender,
  DuckdbChunk,
  DuckdbConnection,
  DuckdbParameter,
  DuckdbReader,
  DuckdbResult,
  DuckdbStream,
} from './driver.ts';
export { duckdb, MEMORY_LIMIT, THREADS, type DuckdbOptions, type DuckdbStore } from './store.ts';
export { columnarSinkSupports, sinkSupports } from './supports.ts';
export { columnar, type ColumnarOptions, type ColumnarTarget } from './targets.ts';
