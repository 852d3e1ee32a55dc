import { describe, test } from 'vitest';
import { scanConformance, type ScanSubject } from '../../src/conformance/scan.ts';
import { sinkTargets } from '../../src/conformance/sink.ts';
import type { Key, Row } from '../../src/core/row.ts';
import type { Write } from '../../src/core/write.ts';
import { hasOpenSearch } from '../support/opensearch.ts';
import { declaredTargets, openTargets } from './opensearch-targets.ts';

describe.skipIf(!hasOpenSearch)('opensearch', () => {
  scanConformance({ test, open: openSubject });
});

async function openSubject(): Promise<ScanSubject> {
  const opened = await openTargets({ targets: declaredTargets });
  const session = await opened.store.sink.open({
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
    const writes = rows.map(({ key, row }, ordinal): Write => ({
      target,
      key,
      row,
      mode: 'stream',
      epoch: 1,
      offset,
      ordinal,
    }));
    const last = { epoch: 1, offset, ordinal: writes.length };
    await session.apply({
      writes,
      state: [],
      checkpoint: { log: offset, last, through: last, backfill: undefined },
    });
  };
  return {
    scan: opened.store.scan,
    put: apply,
    remove: (target, keys) =>
      apply(
        target,
        keys.map((key) => ({ key, row: null })),
      ),
    dispose: () => opened.dispose(),
  };
}
