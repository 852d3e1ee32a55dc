import { TallyError } from '../core/errors.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Key } from '../core/row.ts';
import type { Log } from '../ports/log.ts';
import type { FailedWrite, Sink, SinkBatch, SinkReport, SinkSession } from '../ports/sink.ts';
import type { Source } from '../ports/source.ts';

/** Bugs that can be planted in the stores, to see that the simulator finds them. */
export const mutations = [
  'checkpoint-first',
  'acknowledge-before-append',
  'ignore-worker-epoch',
  'stale-log-tail',
  'forget-parked',
  'claim-all-applied',
] as const;
export type Mutation = (typeof mutations)[number];

/** What a simulated sink asks of its world. */
export interface SinkWatch {
  /** The failure that the target has for a write just now, if it has one. */
  refusal(target: string, key: Key): TallyError | undefined;
  opened(flow: string, workerEpoch: number): void;
  /** Runs a batch of a session; each of its steps is then known to be of this worker. */
  applying<Result>(flow: string, workerEpoch: number, work: () => Promise<Result>): Promise<Result>;
}

/** A sink that refuses single writes when the world says so, and is watched for what zombies may do. */
export function faultySink(sink: Sink, watch: SinkWatch, mutation: Mutation | undefined): Sink {
  return {
    supports: sink.supports,
    generation: (flow) => sink.generation(flow),
    peek: (flow) => sink.peek(flow),
    switchTo: (flow, to, targets, workerEpoch) =>
      sink.switchTo(flow, to, targets, honest(workerEpoch, mutation)),
    async open(options) {
      const { flow, workerEpoch } = options;
      const session = await sink.open({ ...options, workerEpoch: honest(workerEpoch, mutation) });
      watch.opened(flow, workerEpoch);
      return faultySession(session, { watch, flow, workerEpoch, mutation });
    },
  };
}

/** With the bug, every worker is as new as any other. */
function honest(workerEpoch: number, mutation: Mutation | undefined): number {
  return mutation === 'ignore-worker-epoch' ? 1_000_000 : workerEpoch;
}

interface SessionParts {
  readonly watch: SinkWatch;
  readonly flow: string;
  readonly workerEpoch: number;
  readonly mutation: Mutation | undefined;
}

function faultySession(session: SinkSession, parts: SessionParts): SinkSession {
  const { watch, flow, workerEpoch, mutation } = parts;
  const apply = async (batch: SinkBatch): Promise<SinkReport> => {
    const failed = batch.writes.flatMap(({ target, key }, index): FailedWrite[] => {
      const error = watch.refusal(target, key);
      return error === undefined ? [] : [{ index, error }];
    });
    if (failed.length > 0) return { applied: 0, older: 0, failed };
    if (mutation === 'claim-all-applied' && batch.writes.length > 2)
      return session.apply({ ...batch, writes: batch.writes.slice(1) });
    if (mutation === 'checkpoint-first') await session.apply({ ...batch, writes: [] });
    return session.apply(batch);
  };
  return {
    apply: (batch) => watch.applying(flow, workerEpoch, () => apply(batch)),
    checkpoint: () => session.checkpoint(),
    readState: (names) => session.readState(names),
    sweep: (targets, before) => session.sweep(targets, before),
    prune: (before) => session.prune(before),
    reset: () => session.reset(),
    close: () => session.close(),
    [Symbol.asyncDispose]: () => session.close(),
  };
}

/** A source that, with the bug, is acknowledged as soon as it has been read. */
export function faultySource<Tx>(source: Source<Tx>, mutation: Mutation | undefined): Source<Tx> {
  if (mutation !== 'acknowledge-before-append') return source;
  let workerEpoch = 0;
  return {
    supports: source.supports,
    prepare: (tables) => source.prepare(tables),
    history: () => source.history(),
    ...(source.continues === undefined ? {} : { continues: source.continues.bind(source) }),
    head: () => source.head(),
    claim: (epoch) => {
      workerEpoch = epoch;
      return source.claim(epoch);
    },
    async *stream(options) {
      for await (const batch of source.stream(options)) {
        const commit = batch.findLast((entry) => entry.kind === 'commit');
        if (commit !== undefined) await source.acknowledge(commit, workerEpoch);
        yield batch;
      }
    },
    acknowledge: (cursor, epoch) => source.acknowledge(cursor, epoch),
    snapshot: (options) => source.snapshot(options),
    lookup: (table, keys) => source.lookup(table, keys),
    write: (work) => source.write(work),
    retained: () => source.retained(),
  };
}

/** A log that, with the bug, forgets what it ends with. */
export function faultyLog(log: Log, mutation: Mutation | undefined): Log {
  if (mutation !== 'stale-log-tail') return log;
  return {
    supports: log.supports,
    read: (options) => log.read(options),
    extent: () => log.extent(),
    release: (before) => log.release(before),
    close: () => log.close(),
    [Symbol.asyncDispose]: () => log.close(),
    async openAppender(workerEpoch) {
      const appender = await log.openAppender(workerEpoch);
      const { next, commit } = appender.tail;
      return {
        // As if its last records had not been looked at: the last commit is known, not what follows it.
        tail: { next, commit, last: undefined },
        append: (records) => appender.append(records),
        close: () => appender.close(),
        [Symbol.asyncDispose]: () => appender.close(),
      };
    },
  };
}

/** A ledger that, with the bug, says that it keeps parked work, and does not. */
export function faultyLedger(ledger: Ledger, mutation: Mutation | undefined): Ledger {
  if (mutation !== 'forget-parked') return ledger;
  return {
    supports: ledger.supports,
    commit: (operations) =>
      ledger.commit(
        operations.filter(
          ({ kind, ...rest }) => kind !== 'put' || !isParked(rest as { space: string }),
        ),
      ),
    get: (space, key) => ledger.get(space, key),
    list: (space, options) => ledger.list(space, options),
    leases: () => ledger.leases(),
    close: () => ledger.close(),
    [Symbol.asyncDispose]: () => ledger.close(),
  };
}

function isParked({ space }: { readonly space: string }): boolean {
  return space.startsWith('parked/');
}

/** The failure of a single write that comes again, or does not. */
export function writeFailure(kind: 'refused' | 'busy'): TallyError {
  return kind === 'refused'
    ? new TallyError('WRITE_REFUSED', { what: 'the simulated target refuses this row' })
    : new TallyError('STORE_BUSY', { what: 'the simulated target is busy with this row' });
}
