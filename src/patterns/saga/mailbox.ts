import { decodeValue, encodeValue } from '../../core/codec.ts';
import type { Value } from '../../core/row.ts';
import type { Ledger, LedgerOperation } from '../../ports/ledger.ts';
import { MAIL } from './spaces.ts';

/** The name under which a wish to cancel lies in the mail; no step can be named so. */
export const CANCEL = '$cancel';
/** Signals of one saga that may lie there at the same time. */
export const MAIL_MAX = 1_000;

/** A signal that was not yet taken in. */
export interface Mail {
  readonly key: string;
  readonly name: string;
  readonly signalId: string;
  readonly payload: Value;
  readonly atMs: number;
}

/** What puts a signal into the mail; once for each signal id. */
export function mailOperation(id: string, mail: Omit<Mail, 'key'>): LedgerOperation {
  const { name, signalId, payload, atMs } = mail;
  const value = encodeValue({ name, signalId, payload, atMs });
  return { kind: 'put', space: MAIL, key: `${id}/${name}/${signalId}`, value, ifVersion: 0 };
}

/** The mail of a saga, the oldest first. */
export async function readMail(ledger: Ledger, id: string): Promise<readonly Mail[]> {
  const records = await ledger.list(MAIL, { prefix: `${id}/`, limit: MAIL_MAX });
  return records
    .map(({ key, value }) => ({
      ...(decodeValue(value) as unknown as Omit<Mail, 'key'>),
      key,
    }))
    .toSorted((left, right) => left.atMs - right.atMs);
}

/** What takes a signal out. */
export function takeOperation({ key }: Mail): LedgerOperation {
  return { kind: 'delete', space: MAIL, key };
}
