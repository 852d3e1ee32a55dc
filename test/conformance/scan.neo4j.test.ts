import { describe, test } from 'vitest';
import { scanConformance, type ScanSubject } from '../../src/conformance/scan.ts';
import { sinkTargets } from '../../src/conformance/sink.ts';
import type { Key, Row } from '../../src/core/row.ts';
import type { Write } from '../../src/core/write.ts';
import { hasNeo4j } from '../support/neo4j.ts';
import { openTargets } from './neo4j-targets.ts';

describe.skipIf(!hasNeo4j)('neo4j, rows as nodes', () => {
  scanConformance({ test, open: openSubject });
});

let opened = 0;

async function openSubject(): Promise<ScanSubject> {
  // The suite opens a second subject beside the first: each has labels of its own.
  opened += 1;
  const subject = await openTargets('nodes', undefined, `scan${opened % 2}:`);
  const session = await subject.sink.open({
    flow: 'scan',
    generation: 1,
    targets: sinkTargets.map(({ name }) => ({ target: name })),
    workerEpoch: 1,
  });
  let offset = 0;
  const apply = async (
    target: string,
    rows: readonly { key: Key; row: Row | null }[],
  ): Promise<void> => {
    offset += 1;
    const at = { epoch: 1, offset };
    const writes = rows.map(({ key, row }, ordinal): Write => ({
      target,
      key,
      row,
      mode: 'stream',
      ...at,
      ordinal,
    }));
    const last = { ...at, ordinal: writes.length };
    await session.apply({
      writes,
      state: [],
      checkpoint: { log: offset, last, through: at, backfill: undefined },
    });
  };
  return {
    scan: subject.store.scan,
    put: apply,
    remove: (target, keys) =>
      apply(
        target,
        keys.map((key) => ({ key, row: null })),
      ),
    dispose: () => subject.dispose(),
  };
}
