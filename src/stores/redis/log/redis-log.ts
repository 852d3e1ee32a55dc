import { checkNumber, checkString } from '../../../core/options.ts';
import { point } from '../../../observe/point.ts';
import type { Random } from '../../../ports/clock.ts';
import type { Log, LogAppender, LogBatch, LogSupports, ReadOptions } from '../../../ports/log.ts';
import type { RedisLink } from '../link.ts';
import { RedisAppender } from './appender.ts';
import { fencedOut, recordsLost, truncated } from './failures.ts';
import { decodeRecord, identityOf } from './records.ts';
import { OPEN, READ, RELEASE } from './scripts.ts';
import { WakeUp } from './wake-up.ts';

/** Records that one step of a release removes: about a millisecond during which Redis serves nobody else. */
const RELEASE_STEP = 10_000;

export interface OpenLogOptions {
  readonly link: RedisLink;
  readonly wakeUp: WakeUp;
  /** The hash and the stream. */
  readonly keys: readonly [string, string];
  readonly bytesMax: number;
  readonly durable: boolean;
  readonly random: Random;
  readonly where: string;
}

/** A log in a stream of Redis that is open; see `redisLog`. */
export class RedisLog implements Log {
  readonly supports: LogSupports;
  readonly #options: OpenLogOptions;
  /** The log that was seen first: another one under its name holds nothing of what was read here. */
  #id: string | undefined;
  /** How far it was seen to reach. */
  #next = 0;

  constructor(options: OpenLogOptions) {
    this.#options = options;
    this.supports = { durable: options.durable };
  }

  async openAppender(workerEpoch: number): Promise<LogAppender> {
    checkNumber(workerEpoch, 'workerEpoch', { min: 0, integer: true });
    const { link, keys, bytesMax, where, random } = this.#options;
    const token = random.id();
    const [outcome, next = '0', id = '', last = '', commit = ''] = (await OPEN.run(link, keys, [
      String(workerEpoch),
      token,
      random.id(),
      String(this.#next),
    ])) as readonly string[];
    if (outcome === 'fenced') throw fencedOut(where, workerEpoch, Number(next));
    this.#id ??= id;
    this.#seen(Number(next));
    const split = commit.indexOf('\n');
    return new RedisAppender({
      link,
      keys,
      bytesMax,
      where,
      epoch: workerEpoch,
      token,
      tail: {
        next: Number(next),
        last: last === '' ? undefined : identityOf(decodeRecord(last, '""')),
        commit:
          commit === '' ? undefined : decodeRecord(commit.slice(0, split), commit.slice(split + 1)),
      },
      onNext: (reached) => this.#seen(reached),
    });
  }

  async read({ from, recordsMax, bytesMax, signal }: ReadOptions): Promise<LogBatch> {
    const { link, keys, where, wakeUp } = this.#options;
    const args = [from, Math.max(1, recordsMax), Math.min(bytesMax, Number.MAX_SAFE_INTEGER)];
    for (;;) {
      const reply = await READ.run(link, keys, args.map(String));
      const [id = '', next, outcome, first, ...fields] = reply as readonly string[];
      this.#recognise(id);
      this.#seen(Number(next));
      if (outcome === 'truncated') throw truncated(where, from, Number(first));
      if (outcome === 'lost') throw recordsLost(where, { from, next: Number(next) });
      if (outcome === 'ok') return batchOf(Number(first), fields);
      if (signal.aborted) return { first: from, next: from, records: [] };
      await wakeUp.wait(`${next}-0`, signal);
      if (signal.aborted) return { first: from, next: from, records: [] };
    }
  }

  async extent(): Promise<{
    readonly first: number;
    readonly next: number;
    readonly bytes: number;
  }> {
    const { link, keys } = this.#options;
    const fields = ['first', 'next', 'total', 'base'];
    const reply = (await link.send(keys[0], ['HMGET', keys[0], ...fields])) as readonly unknown[];
    const [first = 0, next = 0, total = 0, base = 0] = reply.map(Number);
    return { first, next, bytes: total - base };
  }

  async release(before: number): Promise<void> {
    checkNumber(before, 'before', { min: 0, integer: true });
    const { link, keys } = this.#options;
    for (;;) {
      point('log.before-segment-delete');
      if ((await RELEASE.run(link, keys, [String(before), String(RELEASE_STEP)])) === 0) return;
    }
  }

  async close(): Promise<void> {
    await this.#options.wakeUp.close();
    await this.#options.link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #seen(next: number): void {
    if (next > this.#next) this.#next = next;
  }

  /**
   * Throws once if this is not the log that was read from so far. Otherwise: 1. Redis was emptied  2. an appender
   * begins a log anew  3. a reader waits at an offset where it will come to in a while, and takes that for what comes next.
   */
  #recognise(id: string): void {
    const before = this.#id;
    if (id === before) return;
    // An emptied log that nobody has begun anew yet.
    if (id === '' && this.#next === 0) return;
    this.#id = id === '' ? undefined : id;
    if (before !== undefined) throw recordsLost(this.#options.where, { before, now: id });
  }
}

function batchOf(first: number, fields: readonly string[]): LogBatch {
  const records = [];
  for (let at = 0; at + 1 < fields.length; at += 2)
    records.push(decodeRecord(String(fields[at]), String(fields[at + 1])));
  return { first, next: first + records.length, records };
}

/** The hash and the stream of a log: braces put them into one slot. */
export function logKeys(prefix: string, name: string): readonly [string, string] {
  const root = `${prefix}{_log:${name}}`;
  return [root, `${root}:records`];
}

/** A name that can stand between braces. Throws CONFIG_INVALID. */
export function checkLogName(name: string, path: string): string {
  return checkString(name, path, {
    charactersMax: 200,
    pattern: { matches: /^[^{}]+$/, says: 'a text without braces' },
  });
}
