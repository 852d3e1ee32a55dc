import type { Ledger, LedgerOperation } from '../../ports/ledger.ts';
import { MAIL_MAX } from './mailbox.ts';
import { isEnd, parseRecord } from './record.ts';
import { ENDED, MAIL, PAGES, RECORDS, timeKey } from './spaces.ts';

/** Sagas that are forgotten in one go: a bounded piece of work between others. */
const FORGOTTEN_MAX = 200;
/** Pages of one saga that are forgotten in one step. */
const PAGES_PER_STEP = 1_000;

/** Forgets ended sagas whose time is over, with all that belongs to them. Returns how many. */
export async function forgetEnded(ledger: Ledger, nowMs: number): Promise<number> {
  const listed = await ledger.list(ENDED, { limit: FORGOTTEN_MAX });
  const due = listed.filter(({ key }) => key < timeKey(nowMs + 1));
  for (const { key, value: id } of due) await forget(ledger, id, key);
  return due.length;
}

async function forget(ledger: Ledger, id: string, key: string): Promise<void> {
  const found = await ledger.get(RECORDS, id);
  const operations: LedgerOperation[] = [{ kind: 'delete', space: ENDED, key }];
  if (found !== undefined && isEnd(parseRecord(found).head.status)) {
    for (const [space, limit] of [
      [PAGES, PAGES_PER_STEP],
      [MAIL, MAIL_MAX],
    ] as const)
      for (const record of await ledger.list(space, { prefix: `${id}/`, limit }))
        operations.push({ kind: 'delete', space, key: record.key });
    operations.push({ kind: 'delete', space: RECORDS, key: id, ifVersion: found.version });
  }
  await ledger.commit(operations);
}
