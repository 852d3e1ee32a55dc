import { afterAll, beforeAll, describe, test } from 'vitest';
import { scanConformance, type ScanSubject } from '../../src/conformance/scan.ts';
import { sinkTargets } from '../../src/conformance/sink.ts';
import type { Key, Row } from '../../src/core/row.ts';
import type { Write } from '../../src/core/write.ts';
import type { Targets } from '../../src/stores/postgres/sink/targets.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';
import { targetKinds, targetSchema } from './postgres-targets.ts';

let database: FreshDatabase | undefined;

beforeAll(async () => {
  if (hasPostgres) database = await freshDatabase();
});

afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});

for (const [kind, targets] of Object.entries(targetKinds)) {
  describe.skipIf(!hasPostgres)(`postgres, targets of kind ${kind}`, () => {
    scanConformance({ test, open: () => openSubject(targets) });
  });
}

async function openSubject(targets: Targets): Promise<ScanSubject> {
  const opened = await targetSchema(database?.url ?? '', targets);
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
