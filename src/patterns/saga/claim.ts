import { isTallyError, must } from '../../core/errors.ts';
import { point } from '../../observe/point.ts';
import type { Ledger, LedgerOperation } from '../../ports/ledger.ts';
import { type BookParts, readState, SagaBook } from './book.ts';
import type { SagaDefinition } from './definition.ts';
import { encodeEntry } from './journal.ts';
import { frontier } from './plan.ts';
import { type Head, type SagaRecord, recordText } from './record.ts';
import { OWNED, RECORDS, SLOTS, TIMERS } from './spaces.ts';
import { applyEntry } from './state.ts';

export interface ClaimOptions {
  readonly parts: BookParts;
  readonly definition: SagaDefinition;
  readonly record: SagaRecord;
  readonly worker: string;
  /** What told that there is something to do; it goes with the claim. */
  readonly via: { readonly space: string; readonly key: string };
}

/**
 * Takes a saga that nobody has, or whose worker is gone, in one step; undefined if somebody else was faster, or if no
 * place of its key is free. What may have been under way is recorded as begun: from here on its outcome is unknown
 * until it is recorded.
 */
export async function claim(options: ClaimOptions): Promise<SagaBook | undefined> {
  const { parts, definition, record, worker, via } = options;
  const { ledger, clock } = parts;
  const before = record.head;
  const slot = await freeSlot(ledger, before);
  if (slot === undefined) return undefined;
  const nowMs = clock.nowMs();
  const state = await readState(ledger, record);
  const head: Head = {
    ...before,
    status: 'running',
    owner: worker,
    epoch: before.epoch + 1,
    timerKey: null,
    slot: before.slot ?? slot,
    changedAtMs: nowMs,
  };
  let { tail } = record;
  if (before.owner !== null) {
    const begun = frontier(definition.nodes, state);
    const entry = {
      kind: 'taken',
      worker,
      epoch: head.epoch,
      interrupted: begun.map(({ path }) => path),
      ...(begun.some(({ node }) => node.kind === 'step' && node.class === 'retriable')
        ? { commits: true as const }
        : {}),
      atMs: nowMs,
    } as const;
    applyEntry(state, entry);
    tail += `${encodeEntry(entry)}\n`;
  }
  const operations: LedgerOperation[] = [];
  // First what may be refused: what comes after it needs nothing undone then.
  if (slot !== null)
    operations.push({ kind: 'put', space: SLOTS, key: slot, value: head.id, ifVersion: 0 });
  const ownedKey = `${worker}/${head.id}`;
  operations.push(
    {
      kind: 'put',
      space: RECORDS,
      key: head.id,
      value: recordText(head, tail),
      ifVersion: record.version,
    },
    { kind: 'put', space: OWNED, key: ownedKey, value: head.id },
  );
  const stale = new Map([[`${via.space}/${via.key}`, via]]);
  if (before.timerKey !== null)
    stale.set(`${TIMERS}/${before.timerKey}`, { space: TIMERS, key: before.timerKey });
  if (before.owner !== null) {
    const key = `${before.owner}/${head.id}`;
    stale.set(`${OWNED}/${key}`, { space: OWNED, key });
  }
  // A worker that takes up again what it lost sight of: its own name stays where it is.
  stale.delete(`${OWNED}/${ownedKey}`);
  for (const { space, key } of stale.values()) operations.push({ kind: 'delete', space, key });
  try {
    const versions = await ledger.commit(operations);
    point('saga.after-claim');
    const version = must(versions[slot === null ? 0 : 1], 'the version of the record');
    return new SagaBook(parts, { head, tail, version }, state);
  } catch (error) {
    if (isTallyError(error, 'LEDGER_CONFLICT')) return undefined;
    throw error;
  }
}

/** A free place of the saga's key; null if it needs none or has one, undefined if all are taken. */
async function freeSlot(ledger: Ledger, head: Head): Promise<string | null | undefined> {
  if (head.slots === undefined || head.slot !== null) return null;
  const { prefix, max } = head.slots;
  const taken = new Set((await ledger.list(SLOTS, { prefix, limit: max })).map(({ key }) => key));
  for (let number = 0; number < max; number += 1)
    if (!taken.has(`${prefix}${number}`)) return `${prefix}${number}`;
  return undefined;
}
