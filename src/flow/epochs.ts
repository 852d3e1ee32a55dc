import { TallyError } from '../core/errors.ts';
import type { Fork } from '../core/evidence.ts';
import { EPOCH_MAX } from '../core/position.ts';
import type { Ledger, LedgerOperation } from '../ports/ledger.ts';

const SPACE = 'epochs';

/** One history of a lane that was observed, and the epoch the ledger allotted to it. */
export interface Epoch {
  readonly epoch: number;
  /** The source's identity of the history. */
  readonly history: string;
  /** Epochs that go on from the one before without a gap: a standby that had everything was promoted. */
  readonly forks?: readonly EpochFork[];
}

/** How an epoch goes on from the one before. */
export interface EpochFork extends Fork {
  readonly epoch: number;
  /** The last offset that was captured under the parent: what comes after it carries the newer epoch. */
  readonly captured: number;
}

/** Forks that the ledger keeps: evidence from before more failovers than this is incomparable. */
const FORKS_KEPT = 16;

/** How the epochs of a lane are related, for comparing evidence. */
export function relationOf(forks: Epoch['forks']): (epoch: number) => Fork | undefined {
  return (epoch) => forks?.find((fork) => fork.epoch === epoch);
}

/** Whether an epoch goes on from another one, by one fork or several. */
export function descends(forks: Epoch['forks'], epoch: number, from: number): boolean {
  return capturedUpTo(forks, epoch, from) !== undefined;
}

/** Up to which offset an earlier epoch that this one goes on from was captured; undefined if it does not. */
export function capturedUpTo(
  forks: Epoch['forks'],
  epoch: number,
  from: number,
): number | undefined {
  let captured = Infinity;
  let current = epoch;
  while (current > from) {
    const fork = forks?.find((one) => one.epoch === current);
    if (fork === undefined || fork.parent >= current) return undefined;
    captured = Math.min(captured, fork.captured);
    current = fork.parent;
  }
  return current === from ? captured : undefined;
}

/** The present epoch of a lane, or undefined before its first capture. */
export async function presentEpoch(ledger: Ledger, lane: string): Promise<Epoch | undefined> {
  const record = await ledger.get(SPACE, lane);
  return record === undefined ? undefined : (JSON.parse(record.value) as Epoch);
}

/**
 * The epoch to capture under. The first history of a lane gets epoch `first`; a *different* one is not
 * taken up silently: its offsets say nothing about what was captured before, so that is HISTORY_LOST
 * until a person accepts it with {@link acceptHistory}; unless `continues` proves that it contains the other
 * one up to an offset that everything captured lies below: that is the next epoch, and needs no snapshot.
 */
export async function claimEpoch(
  ledger: Ledger,
  lane: string,
  history: string,
  options: {
    readonly guard?: LedgerOperation;
    readonly first?: number;
    readonly continues?: (
      before: Epoch,
    ) => Promise<{ readonly upTo: number; readonly captured: number } | undefined>;
  } = {},
): Promise<Epoch> {
  const { guard, first = 1 } = options;
  const guards = guard === undefined ? [] : [guard];
  const record = await ledger.get(SPACE, lane);
  if (record === undefined) {
    const begun: Epoch = { epoch: first, history };
    await ledger.commit([...guards, put(lane, begun, 0)]);
    return begun;
  }
  const present = JSON.parse(record.value) as Epoch;
  if (present.history === history) return present;
  const shared = await options.continues?.(present);
  if (shared !== undefined) {
    const epoch = nextEpoch(lane, present);
    const forks = [...(present.forks ?? []), { epoch, parent: present.epoch, ...shared }];
    const next: Epoch = { epoch, history, forks: forks.slice(-FORKS_KEPT) };
    await ledger.commit([...guards, put(lane, next, record.version)]);
    return next;
  }
  throw historyLost(
    lane,
    'the source has another identity than the one captured so far (restored, copied or re-created)',
    {
      before: present.history,
      now: history,
    },
  );
}

/**
 * Takes up the present history of a lane as a new epoch: every flow from it is then snapshotted anew.
 *
 * A capture that runs in the old epoch, here or elsewhere, loses its lease in the same step. Otherwise:
 * 1. a flow restarts and reads its rows in the new epoch  2. the capture logs a change in the old one, which
 * the flow drops as older, and acknowledges it  3. it is captured in the new epoch by nobody: lost.
 */
export async function acceptHistory(
  ledger: Ledger,
  lane: string,
  history: string,
  nowMs: number,
): Promise<number> {
  const record = await ledger.get(SPACE, lane);
  const epoch = record === undefined ? 1 : nextEpoch(lane, JSON.parse(record.value) as Epoch);
  const lease = `capture/${lane}`;
  const holder = (await ledger.leases()).find((held) => held.lease === lease);
  await ledger.commit([
    put(lane, { epoch, history }, record?.version ?? 0),
    // Taken from whoever has it, and over at once: the next capture takes it under a newer epoch.
    {
      kind: 'acquire',
      lease,
      owner: 'resnapshot',
      ttlMs: 1,
      nowMs,
      ...(holder === undefined ? {} : { breakOwner: holder.owner }),
    },
  ]);
  return epoch;
}

function nextEpoch(lane: string, { epoch }: Epoch): number {
  if (epoch >= EPOCH_MAX)
    throw new TallyError('POSITION_OUT_OF_RANGE', {
      what: `lane ${lane} has used all ${EPOCH_MAX} epochs`,
      mend: 'rename the store in the application: a new lane starts at epoch 1',
    });
  return epoch + 1;
}

function put(lane: string, epoch: Epoch, ifVersion: number): LedgerOperation {
  return { kind: 'put', space: SPACE, key: lane, value: JSON.stringify(epoch), ifVersion };
}

/** The error for a lane whose continuation is not there. */
export function historyLost(
  lane: string,
  why: string,
  details: Readonly<Record<string, unknown>> = {},
  cause?: unknown,
): TallyError {
  return new TallyError('HISTORY_LOST', {
    what: `the changes after what was captured are not there: ${why}`,
    where: `lane ${lane}`,
    mend: `look into what happened to the store, then run tally resnapshot APP.ts ${lane}, which starts a new epoch and compares every row`,
    details: { lane, ...details },
    cause,
  });
}
