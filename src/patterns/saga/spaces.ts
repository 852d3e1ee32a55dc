import { checkString } from '../../core/options.ts';

/*
 * Where sagas are in the ledger. A saga's record is the truth; the others are found by listing:
 *
 *   saga/record   ID                     the saga: a head, and what its journal holds since the last page
 *   saga/page     ID/NUMBER              earlier parts of a long journal, never changed
 *   saga/owned    WORKER/ID              that a worker has it; the record says the same, this one can be listed
 *   saga/ready    PRIORITY/TIME/ID…      that somebody should look at it; its value is the id
 *   saga/timer    TIME/ID                the same, from that time on
 *   saga/mail     ID/NAME/SIGNAL         a signal that was not yet taken in
 *   saga/parked   ID                     that a person is needed
 *   saga/ended    TIME/ID                when it may be forgotten
 *   saga/slot     DEFINITION/KEY/NUMBER  the saga that takes one of the places of its key
 *   saga/place    DEFINITION/STEP/NUMBER the saga that takes one of the places in a step, and in which epoch
 */
export const RECORDS = 'saga/record';
export const PAGES = 'saga/page';
export const OWNED = 'saga/owned';
export const READY = 'saga/ready';
export const TIMERS = 'saga/timer';
export const MAIL = 'saga/mail';
export const PARKED = 'saga/parked';
export const ENDED = 'saga/ended';
export const SLOTS = 'saga/slot';
export const PLACES = 'saga/place';

/** Leases of workers are named so, with the number of a place. */
export const WORKER_LEASE = 'saga/worker/';

/** Enough for the year 2286, so that the texts sort as the numbers do. */
const TIME_DIGITS = 13;
/** Ids of children get their step's path behind the id of their parent. */
const ID_CHARACTERS_MAX = 400;

/** Refuses an id that could not be a part of a ledger's key. Throws CONFIG_INVALID. */
export function checkSagaId(id: unknown): string {
  return checkString(id, 'the id of a saga', {
    charactersMax: ID_CHARACTERS_MAX,
    pattern: {
      matches: /^[\w.:@+=~-]+$/,
      says: 'an id of letters, digits and "_", ".", ":", "@", "+", "=", "~", "-"',
    },
  });
}

/** A time as part of a key. */
export function timeKey(ms: number): string {
  return String(Math.max(0, Math.floor(ms))).padStart(TIME_DIGITS, '0');
}

/** The key of a saga in {@link TIMERS} and {@link ENDED}. */
export function timedKey(ms: number, id: string): string {
  return `${timeKey(ms)}/${id}`;
}

/** The time in a key of {@link timedKey}. */
export function timeOf(key: string): number {
  return Number(key.slice(0, TIME_DIGITS));
}

/** The key in {@link READY}: the greater priority first, then who waits the longest. */
export function readyKey(priority: number, ms: number, id: string, suffix = ''): string {
  return `${9 - priority}/${timeKey(ms)}/${id}${suffix === '' ? '' : `/${suffix}`}`;
}
