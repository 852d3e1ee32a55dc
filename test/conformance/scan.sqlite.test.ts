import { describe, test } from 'vitest';
import { scanConformance, type ScanSubject } from '../../src/conformance/scan.ts';
import { sinkTargets } from '../../src/conformance/sink.ts';
import type { Key, Row } from '../../src/core/row.ts';
import type { Write } from '../../src/core/write.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Targets } from '../../src/stores/sqlite/sink/targets.ts';
import { targetFile, targetKinds } from './sqlite-targets.ts';

for (const [kind, targets] of Object.entries(targetKinds)) {
  describe(`sqlite, targets of kind ${kind}`, () => {
    scanConformance({ test, open: () => openSubject(targets) });
  });
}

async function openSubject(targets: Targets): Promise<ScanSubject> {
  const opened = await targetFile(targets, systemClock);
  const session = await opened.ports.sink.open({
    flow: 'scan',
    generation: 1,
    targets: sinkTargets.map(({ name, key }) => ({ target: name, key })),
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
    scan: opened.ports.scan,
    put: apply,
    remove: (target, keys) =>
      apply(
        target,
        keys.map((key) => ({ key, row: null })),
      ),
    dispose: () => opened.dispose(),
  };
}
