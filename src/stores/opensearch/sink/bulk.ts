import { isTallyError, TallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import { corruptAnswer, refusalError, refusalOf, tooLarge, type Refusal } from '../errors.ts';
import type { OpenSearchParts } from '../parts.ts';

/** Operations in one request: enough that a request costs little beside them, few enough to be tried again at once. */
const OPERATIONS_MAX = 1_000;
/** The server's makers advise 5 to 15 MB; it holds several copies of each while it works. */
const REQUEST_CHARACTERS_MAX: number = 5 * 2 ** 20;
/** Tries of what the server had no room for, about 1.5 s altogether; then the flow waits and tries again by itself. */
const TRIES_MAX = 6;
const RETRY_FIRST_MS = 50;

/** One operation: what it does, and of an index operation its document. */
export interface Operation {
  readonly action: string;
  readonly document?: string;
}

/** What became of one operation. */
export type Outcome = 'applied' | 'older' | TallyError;

interface Item {
  readonly status: number;
  readonly error?: unknown;
}

/**
 * Sends operations, and answers what became of each, in their order. A bulk answers 200 whatever became of its items, so
 * each is looked at: a conflict of versions is `older`; what is wrong with one document is its error; what the server had
 * no room for is sent again; and anything else (no index, a block, a full disk) concerns all, and is thrown. The index of a
 * 404 is not there: `onGone` says what that means.
 */
export class Bulk {
  readonly #parts: OpenSearchParts;
  readonly #onGone: () => Promise<TallyError>;

  constructor(parts: OpenSearchParts, onGone: () => Promise<TallyError>) {
    this.#parts = parts;
    this.#onGone = onGone;
  }

  async run(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    for (let from = 0; from < operations.length;) {
      const to = endOf(operations, from);
      outcomes.push(...(await this.#settle(operations.slice(from, to))));
      from = to;
      if (from < operations.length) point('sink.mid-apply');
    }
    return outcomes;
  }

  /** Sends until every operation has an outcome. */
  async #settle(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = Array.from({ length: operations.length });
    let open = operations.map((_, index) => index);
    for (let tries = 1; ; tries += 1) {
      const found = await this.#send(open.map((index) => operations[index] as Operation));
      const busy: number[] = [];
      let reason: TallyError | undefined;
      for (const [at, index] of open.entries()) {
        const outcome = found[at] as Outcome;
        if (outcome instanceof TallyError && outcome.retryable) {
          busy.push(index);
          reason ??= outcome;
        } else outcomes[index] = outcome;
      }
      if (reason === undefined) return outcomes;
      // A block stays until somebody lifts it, and a full disk until there is room.
      if (tries === TRIES_MAX || isTallyError(reason, 'STORE_FULL')) throw reason;
      await this.#parts.clock.sleep(RETRY_FIRST_MS * 2 ** (tries - 1));
      open = busy;
    }
  }

  async #send(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const { link, where } = this.#parts;
    const { status, body } = await link.ask({
      method: 'POST',
      path: '/_bulk',
      // A name that is no alias is no index of ours: without this a write would make one, with mappings of its own.
      query: { require_alias: true, filter_path: 'items.*.status,items.*.error' },
      body: textOf(operations),
    });
    if (status === 413) return this.#halve(operations);
    if (status >= 300) {
      const error = refusalError(
        refusalOf(status, (body as { readonly error?: unknown } | undefined)?.error),
        `${where}, POST /_bulk`,
      );
      // Nothing of it was done: all of it may be sent again.
      if (error.retryable) return operations.map(() => error);
      throw error;
    }
    const items = (body as { readonly items?: readonly Readonly<Record<string, Item>>[] }).items;
    if (items?.length !== operations.length)
      throw corruptAnswer(
        `the answer has ${items?.length ?? 0} items for ${operations.length} operations`,
        `${where}, POST /_bulk`,
        JSON.stringify(body),
      );
    const outcomes: Outcome[] = [];
    for (const item of items) outcomes.push(await this.#outcome(Object.values(item)[0] as Item));
    return outcomes;
  }

  /** A request can be too large for the server, or a proxy before it, where none of its rows is. */
  async #halve(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    if (operations.length === 1)
      return [tooLarge('the row is larger than the server takes', this.#parts.where)];
    const middle = Math.ceil(operations.length / 2);
    return [
      ...(await this.#send(operations.slice(0, middle))),
      ...(await this.#send(operations.slice(middle))),
    ];
  }

  async #outcome({ status, error }: Item): Promise<Outcome> {
    if (status < 300) return 'applied';
    const refusal = refusalOf(status, error);
    if (refusal.type === 'version_conflict_engine_exception') return 'older';
    // Deleting what is not there: somebody else has done it.
    if (status === 404 && error === undefined) return 'older';
    if (refusal.type === 'index_not_found_exception') throw await this.#onGone();
    if (isOfOneDocument(refusal)) return refusedDocument(refusal);
    const failure = refusalError(refusal, this.#parts.where);
    if (failure.retryable) return failure;
    throw failure;
  }
}

/** The end of the request that begins at `from`. */
function endOf(operations: readonly Operation[], from: number): number {
  let characters = 0;
  for (let index = from; index < operations.length; index += 1) {
    const { action, document = '' } = operations[index] as Operation;
    characters += action.length + document.length;
    if (index > from && characters > REQUEST_CHARACTERS_MAX) return index;
    if (index - from + 1 === OPERATIONS_MAX) return index + 1;
  }
  return operations.length;
}

function textOf(operations: readonly Operation[]): string {
  const lines: string[] = [];
  for (const { action, document } of operations) {
    lines.push(action);
    if (document !== undefined) lines.push(document);
  }
  lines.push('');
  return lines.join('\n');
}

/** What the index finds wrong with one document: all 400, except that an index that is closed says so, too. */
function isOfOneDocument({ status, type }: Refusal): boolean {
  return status === 413 || (status === 400 && type !== 'index_closed_exception');
}

function refusedDocument({ status, type, reason }: Refusal): TallyError {
  if (status === 413 || /immense term|too large|exceeds the max/i.test(reason))
    return tooLarge(`the index refuses the row: ${reason}`, 'target', { status, type });
  return new TallyError('WRITE_REFUSED', {
    what: `the index refuses the row: ${reason}`,
    mend: 'change the projection, or the fields that are declared of the target; then tally parked retry',
    details: { status, type, reason },
  });
}
