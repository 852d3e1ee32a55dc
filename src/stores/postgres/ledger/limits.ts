import { TallyError } from '../../../core/errors.ts';
import type { LedgerOperation } from '../../../ports/ledger.ts';
import { toStored } from './plain-text.ts';

/** Names, keys and owners: two of them are one entry of an index, which takes 2 700 bytes. */
const NAME_BYTES_MAX = 1_024;
/** A value is mostly small; a parked change holds a whole row, as large as its target would take. */
const VALUE_BYTES_MAX: number = 64 * 1024 * 1024;
/** One step is executed while all others wait, so one step may not hold the ledger for long. */
const STEP_OPERATIONS_MAX = 10_000;
const STEP_BYTES_MAX = 128 * 1024 * 1024;

/**
 * Refuses, before it waits with others, a step that the ledger could not take, and returns about how many bytes it
 * has. Throws ROW_TOO_LARGE over a limit, VALUE_UNSUPPORTED for text that has no UTF-8 form (stored, it would come
 * back changed) or an operand of another type.
 */
export function checkStep(operations: readonly LedgerOperation[], where: string): number {
  if (operations.length > STEP_OPERATIONS_MAX)
    throw tooLarge('a step', `${operations.length} operations`, STEP_OPERATIONS_MAX, where);
  let bytes = 0;
  for (const operation of operations) bytes += checkOperation(operation, where);
  if (bytes > STEP_BYTES_MAX) throw tooLarge('a step', `${bytes} bytes`, STEP_BYTES_MAX, where);
  return bytes;
}

/** Refuses a name, key or prefix that no record can have. Returns its bytes. */
export function checkName(name: unknown, what: string, where: string): number {
  return checkText(name, NAME_BYTES_MAX, what, where);
}

function checkOperation(operation: LedgerOperation, where: string): number {
  switch (operation.kind) {
    case 'put':
    case 'delete': {
      checkVersion(operation.ifVersion, where);
      const { space, key } = operation;
      const names = checkName(space, 'a space', where) + checkName(key, 'a key', where);
      if (operation.kind === 'delete') return names;
      return names + checkText(operation.value, VALUE_BYTES_MAX, 'the value of a record', where);
    }
    case 'acquire': {
      const { lease, owner, breakOwner, floor, ttlMs, nowMs } = operation;
      checkTimes(ttlMs, nowMs, where);
      if (floor !== undefined) checkEpoch(floor, 'floor', where);
      if (breakOwner !== undefined) checkName(breakOwner, 'an owner', where);
      return checkName(lease, 'a lease', where) + checkName(owner, 'an owner', where);
    }
    case 'renew':
      checkTimes(operation.ttlMs, operation.nowMs, where);
      break;
    case 'guard':
    case 'release':
      break;
    default:
      throw unsupported(
        `an operation of kind ${String((operation as { kind: unknown }).kind)}`,
        where,
      );
  }
  checkEpoch(operation.epoch, 'epoch', where);
  return checkName(operation.lease, 'a lease', where);
}

function checkText(text: unknown, bytesMax: number, what: string, where: string): number {
  if (typeof text !== 'string') throw unsupported(`${what} of type ${typeof text}`, where);
  if (!text.isWellFormed()) throw unsupported(`${what} with half a surrogate pair`, where);
  // No UTF-16 unit takes more than three bytes as it is stored, so a short text needs no counting.
  const bytes = text.length * 3 <= bytesMax ? text.length : Buffer.byteLength(toStored(text));
  if (bytes > bytesMax) throw tooLarge(what, `${bytes} bytes`, bytesMax, where);
  return bytes;
}

function checkVersion(version: number | undefined, where: string): void {
  if (version === undefined) return;
  if (!Number.isSafeInteger(version) || version < 0)
    throw unsupported(`ifVersion ${String(version)}`, where);
}

function checkEpoch(epoch: unknown, what: string, where: string): void {
  if (!Number.isSafeInteger(epoch) || Number(epoch) < 0)
    throw unsupported(`${what} ${String(epoch)}`, where);
}

function checkTimes(ttlMs: unknown, nowMs: unknown, where: string): void {
  if (typeof ttlMs !== 'number' || !Number.isFinite(ttlMs) || ttlMs < 0)
    throw unsupported(`ttlMs ${String(ttlMs)}`, where);
  if (typeof nowMs !== 'number' || !Number.isFinite(nowMs))
    throw unsupported(`nowMs ${String(nowMs)}`, where);
}

function tooLarge(what: string, size: string, max: number, where: string): TallyError {
  return new TallyError('ROW_TOO_LARGE', {
    what: `${what} has ${size}; the limit is ${max}`,
    where,
    mend: 'keep large content in an object store and its address in the ledger, or split the step',
    details: { max },
  });
}

function unsupported(what: string, where: string): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `${what} cannot be kept in a ledger`,
    where,
    mend: 'give well-formed text, whole versions and epochs from 0, and finite times in milliseconds',
  });
}
