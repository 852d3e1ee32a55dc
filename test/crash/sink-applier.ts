import { writeSync } from 'node:fs';
import type { Row } from '../../src/core/row.ts';
import type { Write } from '../../src/core/write.ts';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import type { SinkBatch } from '../../src/ports/sink.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import * as postgres from '../../src/stores/postgres/sink/targets.ts';
import { openDatabase } from '../../src/stores/postgres/database.ts';
import {
  checkTargets,
  openTargetPorts,
  type TargetPorts,
} from '../../src/stores/postgres/sink/attach.ts';
import * as sqlite from '../../src/stores/sqlite/index.ts';

/** The targets that every batch writes to, declared alike for either store. */
const targets = {
  sqlite: {
    papers: sqlite.documents(),
    rows: sqlite.table({ key: ['id'], columns: { id: 'TEXT', batch: 'INTEGER', sum: 'INTEGER' } }),
    texts: sqlite.fullText({ columns: ['id'] }),
  },
  postgres: {
    papers: postgres.documents(),
    rows: postgres.table({
      key: ['id'],
      columns: { id: 'TEXT', batch: 'INTEGER', sum: 'INTEGER' },
    }),
    texts: postgres.fullText({ columns: ['id'] }),
  },
};

const KEYS = 7;
const PRIME = 1_000_003;

/** What each target holds after batches 0 to `count - 1`, and the fold state beside it. */
export function expected(count: number): { rows: ReadonlyMap<string, Row>; total: string | null } {
  const rows = new Map<string, Row>();
  for (let batch = 0; batch < count; batch++)
    for (const { id, row } of changes(batch)) {
      if (row === null) rows.delete(id);
      else rows.set(id, row);
    }
  return { rows, total: count === 0 ? null : String(chain(count - 1)) };
}

/** Each batch changes most keys and deletes one; every value depends on all batches before it. */
function changes(batch: number): readonly { readonly id: string; readonly row: Row | null }[] {
  return Array.from({ length: KEYS }, (_, key) => {
    const id = `key ${key}`;
    return { id, row: (batch + key) % KEYS === 0 ? null : { id, batch, sum: chain(batch) + key } };
  });
}

function chain(batch: number): number {
  let sum = 1;
  for (let step = 0; step <= batch; step++) sum = (sum * 31 + step) % PRIME;
  return sum;
}

/** The batch of this number, for all targets. */
function batchOf(batch: number): SinkBatch {
  const names = shapes.map(({ target }) => target);
  const writes = changes(batch).flatMap(({ id, row }, key) =>
    names.map((target, index): Write => {
      const ordinal = key * names.length + index;
      return { target, key: [id], row, mode: 'stream', epoch: 3, offset: batch + 1, ordinal };
    }),
  );
  const last = { epoch: 3, offset: batch + 1, ordinal: writes.length };
  const through = { epoch: 3, offset: batch + 1 };
  const checkpoint = { log: batch + 1, last, through, backfill: undefined };
  return { writes, state: [{ name: 'total', value: String(chain(batch)) }], checkpoint };
}

const context = { name: 'target', clock: systemClock, random: systemRandom };

/** Opens the file that batches are applied to. */
export function openSqlite(file: string): Promise<sqlite.SqliteStore> {
  return sqlite.sqlite({ file, targets: targets.sqlite }).open(context);
}

/** Opens the database that batches are applied to. */
export async function openPostgres(url: string): Promise<TargetPorts & AsyncDisposable> {
  const database = await openDatabase(context, { url });
  const ports = openTargetPorts(database, checkTargets({ targets: targets.postgres }, 'postgres'));
  return {
    ...ports,
    async [Symbol.asyncDispose]() {
      await ports.close();
      await database.close();
    },
  };
}

/** Names of the targets as a flow gives them. */
export const shapes: readonly { readonly target: string; readonly key: readonly string[] }[] =
  Object.keys(targets.sqlite).map((target) => ({ target, key: ['id'] }));

// `node sink-applier.ts FILE|URL EPOCH` goes on from the checkpoint with numbered batches until it is
// killed, and writes the number of each batch that was acknowledged.
if (import.meta.main) {
  const [, , where = '', epoch = '1'] = process.argv;
  const store = await (where.startsWith('postgres:') ? openPostgres(where) : openSqlite(where));
  const session = await store.sink.open({
    flow: 'numbers',
    generation: 1,
    targets: shapes,
    workerEpoch: Number(epoch),
  });
  let next = (await session.checkpoint())?.log ?? 0;
  armFromEnvironment(process.env);
  for (;;) {
    // Every batch comes twice, as after a lost answer: the second time it has no effect.
    for (let time = 0; time < 2; time++) await session.apply(batchOf(next));
    next += 1;
    writeSync(1, `${next}\n`);
  }
}
