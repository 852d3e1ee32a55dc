import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { scanConformance, type ScanSubject } from '../../src/conformance/scan.ts';
import { sinkTargets } from '../../src/conformance/sink.ts';
import type { Key, Row } from '../../src/core/row.ts';
import { duckdbFile, suiteColumns } from './duckdb-targets.ts';

describe('duckdb with declared columns', () => {
  scanConformance({ test, open: () => open('columns') });
});

describe('duckdb with documents', () => {
  scanConformance({ test, open: () => open('documents') });
});

async function open(shape: 'columns' | 'documents'): Promise<ScanSubject> {
  const file = await duckdbFile(shape === 'columns' ? suiteColumns : {});
  const session = await file.store.sink.open({
    flow: 'suite',
    generation: 1,
    workerEpoch: 1,
    targets: sinkTargets.map(({ name, key }) => ({ target: name, key })),
  });
  let offset = 0;
  const apply = async (target: string, rows: readonly { key: Key; row: Row | null }[]) => {
    offset += 1;
    const place = { epoch: 1, offset };
    const writes = rows.map(({ key, row }, ordinal) => ({
      target,
      key,
      row,
      ordinal,
      mode: 'stream' as const,
      ...place,
    }));
    const last = { ...place, ordinal: rows.length };
    const report = await session.apply({
      writes,
      state: [],
      checkpoint: { log: offset, last, through: place, backfill: undefined },
    });
    assert.equal(report.applied, rows.length);
  };
  return {
    scan: file.store.scan,
    put: apply,
    remove: (target, keys) =>
      apply(
        target,
        keys.map((key) => ({ key, row: null })),
      ),
    dispose: () => file.dispose(),
  };
}
