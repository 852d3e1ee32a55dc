import { EPOCH_MAX, OFFSET_MAX, ORDINAL_MAX } from '../core/position.ts';
import type { OpenSinkOptions, Sink, SinkSession } from '../ports/sink.ts';
import type { Liar } from './liars-shape.ts';

/** Sinks that each break one promise of the port. */
export const sinkLiars: Readonly<Record<string, Liar<Sink>>> = {
  losesAWrite: {
    lie: 'reports the last write of a batch as applied and never makes it',
    caughtBy: 'SK-002',
    wrap: (sink) =>
      withSessions(sink, (session) => ({
        apply: async (batch) => {
          const report = await session.apply({ ...batch, writes: batch.writes.slice(0, -1) });
          return { ...report, applied: report.applied + Math.min(1, batch.writes.length) };
        },
      })),
  },
  ignoresTheFence: {
    lie: 'overwrites a newer row with an older one',
    caughtBy: 'SK-010',
    wrap: (sink) => {
      let offset = 0;
      return withSessions(sink, (session) => ({
        apply: (batch) => {
          offset += 1;
          const writes = batch.writes.map((write) => ({ ...write, epoch: EPOCH_MAX, offset }));
          return session.apply({ ...batch, writes });
        },
      }));
    },
  },
  forgetsTombstones: {
    lie: 'keeps no trace of a delete',
    caughtBy: 'SK-020',
    wrap: (sink) =>
      withSessions(sink, (session) => ({
        apply: async (batch) => {
          const report = await session.apply(batch);
          await session.prune({ epoch: EPOCH_MAX, offset: OFFSET_MAX });
          return report;
        },
      })),
  },
  movesTheCheckpointAnyway: {
    lie: 'moves the checkpoint although a write failed',
    caughtBy: 'SK-034',
    wrap: (sink) =>
      withSessions(sink, (session) => ({
        apply: async (batch) => {
          const report = await session.apply(batch);
          if (report.failed.length > 0) await session.apply({ ...batch, writes: [] });
          return report;
        },
      })),
  },
  letsZombiesWrite: {
    lie: 'takes writes of a worker that was replaced',
    caughtBy: 'SK-036',
    wrap: (sink) => ({
      ...delegate(sink),
      open: (options) => sink.open({ ...options, workerEpoch: EPOCH_MAX }),
    }),
  },
  reordersWithinAKey: {
    lie: 'lets the first write of a transaction win instead of the last',
    caughtBy: 'SK-013',
    wrap: (sink) =>
      withSessions(sink, (session) => ({
        apply: (batch) => {
          const writes = batch.writes.map((write) => ({
            ...write,
            ordinal: ORDINAL_MAX - write.ordinal,
          }));
          return session.apply({ ...batch, writes });
        },
      })),
  },
  storesTheCheckpointFirst: {
    lie: 'stores the checkpoint before the data',
    caughtBy: 'SK-044',
    wrap: (sink) =>
      withSessions(sink, (session) => ({
        apply: async (batch) => {
          await session.apply({ ...batch, writes: [], state: [] });
          return session.apply(batch);
        },
      })),
  },
  sweepsEverything: {
    lie: 'sweeps rows that the snapshot has seen',
    caughtBy: 'SK-026',
    wrap: (sink) =>
      withSessions(sink, (session) => ({
        sweep: (targets) => session.sweep(targets, { epoch: EPOCH_MAX, offset: OFFSET_MAX }),
      })),
  },
  showsTheBuild: {
    lie: 'shows readers a generation that is still being built',
    caughtBy: 'SK-061',
    wrap: (sink) => ({
      ...delegate(sink),
      open: async (options) => {
        const session = await sink.open(options);
        const { flow, generation, targets, workerEpoch } = options;
        if (generation > 1) await sink.switchTo(flow, generation, targets, workerEpoch);
        return session;
      },
    }),
  },
};

function delegate(sink: Sink): Sink {
  return {
    supports: sink.supports,
    open: (options) => sink.open(options),
    generation: (flow) => sink.generation(flow),
    switchTo: (flow, to, targets, workerEpoch) => sink.switchTo(flow, to, targets, workerEpoch),
    peek: (flow) => sink.peek(flow),
  };
}

function withSessions(
  sink: Sink,
  lying: (session: SinkSession, options: OpenSinkOptions) => Partial<SinkSession>,
): Sink {
  return {
    ...delegate(sink),
    open: async (options) => {
      const session = await sink.open(options);
      return {
        checkpoint: () => session.checkpoint(),
        apply: (batch) => session.apply(batch),
        readState: (names) => session.readState(names),
        sweep: (targets, before) => session.sweep(targets, before),
        prune: (before) => session.prune(before),
        reset: () => session.reset(),
        close: () => session.close(),
        [Symbol.asyncDispose]: () => session.close(),
        ...lying(session, options),
      };
    },
  };
}
