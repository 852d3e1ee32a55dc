import { describe, test } from 'vitest';
import { sinkConformance } from '../../src/conformance/sink.ts';
import { columnarSinkSupports, sinkSupports } from '../../src/stores/duckdb/index.ts';
import { duckdbFile, suiteColumns } from './duckdb-targets.ts';

describe('duckdb with declared columns', () => {
  sinkConformance({ test, supports: columnarSinkSupports, open: () => open('columns') });
});

describe('duckdb with documents', () => {
  sinkConformance({ test, supports: sinkSupports, open: () => open('documents') });
});

async function open(shape: 'columns' | 'documents') {
  const file = await duckdbFile(shape === 'columns' ? suiteColumns : {});
  return {
    get sink() {
      return file.store.sink;
    },
    read: (target: string) => file.read(target),
    reopen: () => file.reopen(),
    dispose: () => file.dispose(),
  };
}
