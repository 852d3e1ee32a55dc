import type { AppendText, AppendTexts } from '../../../ports/append.ts';
import type { Appended, ExpectedVersion } from '../../../ports/events.ts';

/** One flush takes this much at most, so that nobody waits for a transaction without end. */
const FLUSH_EVENTS_MAX = 4_096;
const FLUSH_BYTES_MAX = 16 * 1024 * 1024;
/** Each stream of a flush takes a lock for its duration; the server has room for some thousands. */
const FLUSH_STREAMS_MAX = 512;

/** An append that waits for its outcome. */
export interface Request {
  readonly texts: AppendTexts;
  readonly resolve: (appended: readonly Appended[]) => void;
  readonly reject: (error: unknown) => void;
  /** Given once it was sent and not answered: when, by the monotonic clock. What it wrote, its ids will tell. */
  inDoubtMs?: number;
}

/** What one call to the server carries: requests that can all happen, one after the other. */
export interface Flush {
  readonly requests: readonly Request[];
  /** Streams in the order of their numbers, from 1. */
  readonly streams: readonly string[];
  /** What the server has to check: stream, events of the flush before it, version expected of the stream then. */
  readonly checks: readonly {
    readonly stream: number;
    readonly rel: number;
    readonly expected: ExpectedVersion;
  }[];
  /** For each append of each request: its stream, and the events of the flush in that stream before it. */
  readonly places: readonly {
    readonly append: AppendText;
    readonly stream: number;
    readonly rel: number;
  }[];
  /** Ids that may be there already. */
  readonly ids: readonly string[];
}

interface Planned {
  readonly number: number;
  /** The version that the stream has at first, if a request of the flush expects one. */
  base: number | undefined;
  added: number;
}

/**
 * Takes from `waiting` what the next flush carries. What cannot be told to succeed once those before it have waits for
 * the next; so does all that comes after it in its streams, so that each stream keeps the order of the calls.
 */
export function planFlush(
  waiting: readonly Request[],
  isHeldUp: (stream: string) => boolean,
): { readonly flush: Flush; readonly rest: Request[]; readonly heldUp: Request[] } {
  const plan = new Plan();
  const rest: Request[] = [];
  const heldUp: Request[] = [];
  const passed = new Set<string>();
  for (const [index, request] of waiting.entries()) {
    const { appends } = request.texts;
    if (plan.isFull(request)) {
      rest.push(...waiting.slice(index));
      break;
    }
    if (appends.some(({ stream }) => passed.has(stream))) rest.push(request);
    else if (appends.some(({ stream }) => isHeldUp(stream))) {
      heldUp.push(request);
      continue;
    } else if (plan.take(request)) continue;
    else rest.push(request);
    for (const { stream } of appends) passed.add(stream);
  }
  return { flush: plan.flush, rest, heldUp };
}

class Plan {
  readonly flush = {
    requests: [] as Request[],
    streams: [] as string[],
    checks: [] as { stream: number; rel: number; expected: ExpectedVersion }[],
    places: [] as { append: AppendText; stream: number; rel: number }[],
    ids: [] as string[],
  } satisfies Flush;
  readonly #streams = new Map<string, Planned>();
  readonly #ids = new Set<string>();
  #events = 0;
  #bytes = 0;

  isFull({ texts: { appends, bytes } }: Request): boolean {
    if (this.flush.requests.length === 0) return false;
    const events = appends.reduce((sum, append) => sum + append.events.length, 0);
    return (
      this.#events + events > FLUSH_EVENTS_MAX ||
      this.#bytes + bytes > FLUSH_BYTES_MAX ||
      this.#streams.size + appends.length > FLUSH_STREAMS_MAX
    );
  }

  /** Whether the request goes with this flush. */
  take(request: Request): boolean {
    const { appends, givenIds, bytes } = request.texts;
    if (!appends.every((append) => this.#fits(append))) return false;
    // Who of two writes an id, the second finds out from the first.
    if (givenIds.some((id) => this.#ids.has(id))) return false;
    for (const id of givenIds) this.#ids.add(id);
    this.flush.ids.push(...(request.inDoubtMs === undefined ? givenIds : idsOf(request)));
    this.flush.requests.push(request);
    for (const append of appends) this.#place(append);
    this.#bytes += bytes;
    return true;
  }

  /** Whether an append follows from those before it in the flush, if they happen. */
  #fits({ stream, expected }: AppendText): boolean {
    const planned = this.#streams.get(stream);
    if (planned === undefined || expected === 'any' || expected === 'exists') return true;
    return expected !== 'none' && planned.base !== undefined
      ? expected === planned.base + planned.added
      : false;
  }

  #place(append: AppendText): void {
    const { stream, expected, events } = append;
    let planned = this.#streams.get(stream);
    if (planned === undefined) {
      this.flush.streams.push(stream);
      planned = { number: this.flush.streams.length, base: undefined, added: 0 };
      this.#streams.set(stream, planned);
      if (expected !== 'any') this.flush.checks.push({ stream: planned.number, rel: 0, expected });
      if (expected === 'none') planned.base = 0;
      else if (typeof expected === 'number') planned.base = expected;
    }
    this.flush.places.push({ append, stream: planned.number, rel: planned.added });
    planned.added += events.length;
    this.#events += events.length;
  }
}

/** All ids of a request, also those that the store has made. */
export function idsOf({ texts: { appends } }: Request): readonly string[] {
  return appends.flatMap(({ events }) => events.map(({ id }) => id));
}

/** Whether a stream that only grows can never again be as expected. */
export function isHopeless(expected: ExpectedVersion, version: number): boolean {
  return expected === 'none' ? version > 0 : typeof expected === 'number' && expected < version;
}
