import { writeSync } from 'node:fs';
import type { Row } from '../../src/core/row.ts';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import type { SinkBatch, SinkSession } from '../../src/ports/sink.ts';

const CYCLE = 7;

/** What the batches of {@link numberedBatches} write to. */
export const target = 'numbers';

/** What each key holds after batches 0 to `count - 1`; undefined where it was deleted. */
export function expected(count: number, key: number): Row | undefined {
  const batch = count - 1;
  return batch < 0 || (batch + key) % CYCLE === 0 ? undefined : { id: key, batch };
}

/** Batches that each change or delete every one of so many keys: what is there tells how many of them were applied. */
export interface NumberedBatches {
  readonly keys: readonly number[];
  readonly batchOf: (batch: number) => SinkBatch;
}

export function numberedBatches(keyCount: number): NumberedBatches {
  const keys = Array.from({ length: keyCount }, (_, key) => key);
  const batchOf = (batch: number): SinkBatch => {
    const at = { epoch: 8, offset: batch + 1 };
    return {
      writes: keys.map((key, ordinal) => ({
        ...at,
        ordinal,
        target,
        key: [key],
        row: expected(batch + 1, key) ?? null,
        mode: 'stream',
      })),
      state: [],
      checkpoint: {
        log: batch + 1,
        last: { ...at, ordinal: keyCount },
        through: at,
        backfill: undefined,
      },
    };
  };
  return { keys, batchOf };
}

/**
 * Goes on from the checkpoint until it is killed, and writes the number of each batch that was acknowledged. Every batch comes
 * twice, as after a lost answer: the second time it has no effect.
 */
export async function applyForEver(
  session: SinkSession,
  batchOf: (batch: number) => SinkBatch,
): Promise<never> {
  let next = (await session.checkpoint())?.log ?? 0;
  armFromEnvironment(process.env);
  for (;;) {
    for (let time = 0; time < 2; time++) await session.apply(batchOf(next));
    next += 1;
    writeSync(1, `${next}\n`);
  }
}
