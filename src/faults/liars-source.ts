import { isTallyError } from '../core/errors.ts';
import type { Source, SourceCursor, SourceEntry, StreamOptions } from '../ports/source.ts';
import type { Liar } from './liars-shape.ts';

/** Sources that each break one promise of the port. */
export const sourceLiars: Readonly<Record<string, Liar<Source<unknown>>>> = {
  skipsCommits: {
    lie: 'leaves out every third transaction',
    caughtBy: 'SO-010',
    wrap: (source) =>
      withEntries(source, (batch) => batch.filter(({ offset }) => offset % 3 !== 2)),
  },
  splitsTransactions: {
    lie: 'ends a transaction after each of its changes',
    caughtBy: 'SO-010',
    wrap: (source) =>
      withEntries(source, (batch) =>
        batch.flatMap((entry): SourceEntry[] => {
          if (entry.kind === 'commit') return [entry];
          const { offset } = entry;
          const end = {
            kind: 'commit',
            offset,
            changes: 1,
            committedAtMs: 0,
            token: 'early',
          } as const;
          return [{ ...entry, ordinal: 0 }, end];
        }),
      ),
  },
  reordersChanges: {
    lie: 'yields the changes of a transaction in another order, renumbered',
    caughtBy: 'SO-017',
    wrap: (source) =>
      withEntries(source, (batch) => {
        const changes = batch.filter((entry) => entry.kind === 'change').toReversed();
        return batch.map((entry, index) => {
          const other = entry.kind === 'change' ? changes[index] : undefined;
          return entry.kind === 'change' && other !== undefined
            ? { ...other, offset: entry.offset, ordinal: entry.ordinal }
            : entry;
        });
      }),
  },
  acknowledgesByReading: {
    lie: 'lets go of what was read, before anybody said that it is durable',
    caughtBy: 'SO-051',
    wrap: (source) => {
      let workerEpoch = 0;
      return {
        ...delegate(source),
        claim: async (epoch) => {
          workerEpoch = epoch;
          await source.claim(epoch);
        },
        async *stream(options: StreamOptions) {
          for await (const batch of source.stream(options)) {
            const last = batch.findLast((entry) => entry.kind === 'commit');
            if (last !== undefined) await source.acknowledge(last, workerEpoch);
            yield batch;
          }
        },
      };
    },
  },
  letsGoTooEarly: {
    lie: 'lets go of everything it has yielded when a part is acknowledged',
    caughtBy: 'SO-050',
    wrap: (source) => {
      let last: SourceCursor | undefined;
      return {
        ...withEntries(source, (batch) => {
          last = batch.findLast((entry) => entry.kind === 'commit') ?? last;
          return batch;
        }),
        acknowledge: (cursor, epoch) => source.acknowledge(last ?? cursor, epoch),
      };
    },
  },
  takesZombieAcknowledgements: {
    lie: 'lets a worker that was replaced acknowledge',
    caughtBy: 'SO-053',
    wrap: (source) => ({
      ...delegate(source),
      claim: () => Promise.resolve(),
    }),
  },
  givesEvidenceTooLow: {
    lie: 'returns the offset before that of the commit',
    caughtBy: 'SO-030',
    wrap: (source) => ({
      ...delegate(source),
      write: async (work) => {
        const committed = await source.write(work);
        return { ...committed, offset: committed.offset - 1 };
      },
    }),
  },
  stampsSnapshotsTooHigh: {
    lie: 'gives a snapshot the position of a commit that it has not seen',
    caughtBy: 'SO-072/1',
    wrap: (source) => withSnapshots(source, 1),
  },
  stampsSnapshotsTooLow: {
    lie: 'gives a snapshot the position before a commit that it has seen',
    caughtBy: 'SO-072/1',
    wrap: (source) => withSnapshots(source, -1),
  },
  goesOnInAnotherHistory: {
    lie: 'goes on silently where the history was lost',
    caughtBy: 'SO-060',
    wrap: (source) => ({
      ...delegate(source),
      async *stream(options: StreamOptions) {
        try {
          yield* source.stream(options);
        } catch (error) {
          if (!isTallyError(error, 'HISTORY_LOST')) throw error;
          yield* source.stream({ ...options, after: undefined });
        }
      },
    }),
  },
};

function delegate(source: Source<unknown>): Source<unknown> {
  return {
    supports: source.supports,
    prepare: (tables) => source.prepare(tables),
    history: () => source.history(),
    ...(source.continues === undefined ? {} : { continues: source.continues.bind(source) }),
    head: () => source.head(),
    claim: (workerEpoch) => source.claim(workerEpoch),
    stream: (options) => source.stream(options),
    acknowledge: (cursor, workerEpoch) => source.acknowledge(cursor, workerEpoch),
    snapshot: (options) => source.snapshot(options),
    lookup: (table, keys) => source.lookup(table, keys),
    write: (work) => source.write(work),
    retained: () => source.retained(),
  };
}

function withEntries(
  source: Source<unknown>,
  lying: (batch: readonly SourceEntry[]) => readonly SourceEntry[],
): Source<unknown> {
  return {
    ...delegate(source),
    async *stream(options) {
      for await (const batch of source.stream(options)) yield lying(batch);
    },
  };
}

function withSnapshots(source: Source<unknown>, shift: number): Source<unknown> {
  return {
    ...delegate(source),
    async *snapshot(options) {
      for await (const chunk of source.snapshot(options)) yield { ...chunk, at: chunk.at + shift };
    },
  };
}
