import { afterAll, beforeAll, describe, test } from 'vitest';
import { sinkConformance, type SinkSubject } from '../../src/conformance/sink.ts';
import { encodeKey } from '../../src/core/codec.ts';
import type { Row } from '../../src/core/row.ts';
import { sinkSupports } from '../../src/stores/postgres/sink/sink.ts';
import type { Targets } from '../../src/stores/postgres/sink/targets.ts';
import { freshDatabase, hasPostgres, type FreshDatabase } from '../support/servers.ts';
import { rowBytesMax, targetKinds, targetSchema } from './postgres-targets.ts';

let database: FreshDatabase | undefined;

beforeAll(async () => {
  if (hasPostgres) database = await freshDatabase();
});

afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});

for (const [kind, targets] of Object.entries(targetKinds)) {
  describe.skipIf(!hasPostgres)(`postgres, targets of kind ${kind}`, () => {
    sinkConformance({
      test,
      supports: { ...sinkSupports, rowBytesMax },
      open: () => openSubject(targets),
    });
  });
}

async function openSubject(targets: Targets): Promise<SinkSubject> {
  const opened = await targetSchema(database?.url ?? '', targets);
  return {
    get sink() {
      return opened.ports.sink;
    },
    async read(target) {
      const rows = new Map<string, Row>();
      for await (const page of opened.ports.scan.scan(target, { rowsMax: 1_000 }))
        for (const { key, row } of page) rows.set(encodeKey(key), row);
      return rows;
    },
    reopen: () => opened.reopen(),
    dispose: () => opened.dispose(),
  };
}
