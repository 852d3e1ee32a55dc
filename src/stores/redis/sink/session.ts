import type { Position } from '../../../core/position.ts';
import { isTallyError, TallyError } from '../../../core/errors.ts';
import { point } from '../../../observe/point.ts';
import type { Clock } from '../../../ports/clock.ts';
import { encodeCheckpoint } from '../../../ports/checkpoint.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  SinkBatch,
  SinkReport,
  SinkSession,
  SinkSupports,
} from '../../../ports/sink.ts';
import { closedStore } from '../errors.ts';
import type { RedisLink } from '../link.ts';
import { BatchEncoder, type Part } from './batch.ts';
import type { Catalogue } from './catalogue.ts';
import { fenceAfter, fenceBefore, readFence } from './fence-text.ts';
import { scanFences } from './fences.ts';
import type { Names } from './names.ts';
import { earliest, markNumber, parseCheckpoint, type BucketRecord } from './record.ts';
import { checkReply } from './refusal.ts';
import type { Script } from '../script.ts';
import { apply, expire, forget, look, prune, remove } from './script.ts';

/** Rows that one script removes, or looks at. */
const CHUNK_ROWS = 1_000;
/** How often a session looks whether Redis still holds what it left. */
const WATCH_EVERY_MS = 1_000;

export interface SessionOptions {
  readonly link: RedisLink;
  readonly names: Names;
  readonly catalogue: Catalogue;
  readonly supports: SinkSupports;
  readonly open: OpenSinkOptions;
  /** Every target that any session of the flow has opened: what `reset` empties. */
  readonly targets: readonly string[];
  /** As each bucket was when it was claimed. */
  readonly marks: readonly string[];
  /** Not that of any other session. */
  readonly id: string;
  readonly clock: Clock;
  readonly where: string;
  /** Throws CONFIG_INVALID if Redis may evict fences now. */
  readonly refuseEviction: () => Promise<void>;
}

/**
 * What a bucket may hold: the mark of the last batch that was answered, and of one that was sent and not answered.
 * Both are of this session's making or were read when it began, so whatever else is there was lost and restored.
 */
interface Marks {
  known: string;
  sent: string;
}

/** One flow's hold on its keys. */
export class RedisSinkSession implements SinkSession {
  readonly #options: SessionOptions;
  readonly #encoder: BatchEncoder;
  readonly #marks: readonly Marks[];
  readonly #lost = new AbortController();
  #number: number;
  #open = true;
  #stopWatching: () => void = () => undefined;

  constructor(options: SessionOptions) {
    const { open, catalogue, names, marks } = options;
    this.#options = options;
    const targets = open.targets.map(({ target }) => target);
    this.#encoder = new BatchEncoder(open.flow, targets, catalogue, names);
    this.#marks = marks.map((mark) => ({ known: mark, sent: mark }));
    this.#number = Math.max(...marks.map(markNumber));
    this.#watch();
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    this.#check();
    const { link, names, open, where } = this.#options;
    return earliest(await readRecords(link, names, open.flow, where));
  }

  /**
   * Each bucket gets its writes and, in the same script as the last of them, the checkpoint: it is never ahead of
   * the data of its bucket, and what Redis loses it loses of both. The script runs only if the record holds the
   * mark that this session left. Otherwise: 1. a batch up to 42 is applied  2. Redis fails over to a replica that
   * has only seen 30  3. the next batch stores checkpoint 50: rows 31 to 42 are never written.
   */
  async apply(batch: SinkBatch): Promise<SinkReport> {
    this.#check();
    if (batch.state.length > 0) this.#needFoldState();
    const { parts, failed } = this.#encoder.encode(batch.writes);
    if (failed.length > 0) return { applied: 0, older: 0, failed };
    point('sink.before-apply');
    this.#number += 1;
    const mark = `${this.#number}.${this.#options.id}`;
    const finish = [mark, encodeCheckpoint(batch.checkpoint)];
    const state = batch.state.flatMap(({ name, value }) => [
      name,
      value === null ? '-' : `=${value}`,
    ]);
    const outcomes = await Promise.allSettled(
      this.#marks.map((_, bucket) =>
        this.#applyTo(bucket, parts.get(bucket) ?? [], { finish, state }),
      ),
    );
    let applied = 0;
    for (const outcome of outcomes) {
      // What was under way elsewhere has ended: no write of this batch lands after the caller has gone on.
      if (outcome.status === 'rejected') throw outcome.reason;
      applied += outcome.value;
    }
    point('sink.after-commit');
    return { applied, older: batch.writes.length - applied, failed };
  }

  async readState(names: readonly string[]): Promise<readonly (string | null)[]> {
    this.#check();
    this.#needFoldState();
    if (names.length === 0) return [];
    const key = this.#own('state', 0);
    const reply = await this.#options.link.send(key, ['HMGET', key, ...names]);
    return reply as readonly (string | null)[];
  }

  async sweep(targets: readonly string[], before: Position): Promise<number> {
    await this.#look();
    const limit = fenceBefore(before);
    let swept = 0;
    for (const target of targets)
      for (let bucket = 0; bucket < this.#marks.length; bucket += 1)
        swept += await this.#remove(target, bucket, [limit, fenceAfter(before)]);
    return swept;
  }

  async prune(before: Position): Promise<number> {
    await this.#look();
    const limit = fenceBefore(before);
    let pruned = 0;
    for (const { target } of this.#options.open.targets)
      for (let bucket = 0; bucket < this.#marks.length; bucket += 1) {
        pruned += await this.#prune(target, bucket, limit);
        if (this.#options.catalogue.declaration(target).ttlMs !== undefined)
          await this.#expire(target, bucket, limit);
      }
    return pruned;
  }

  /** The checkpoint goes first: left behind without its rows it would skip them for ever. */
  async reset(): Promise<void> {
    this.#check();
    for (let bucket = 0; bucket < this.#marks.length; bucket += 1) {
      const marks = this.#marks[bucket] as Marks;
      marks.sent = '';
      await this.#run(bucket, forget, [this.#own('state', bucket)], []);
      marks.known = '';
    }
    point('sink.mid-reset');
    for (const target of this.#options.targets)
      for (let bucket = 0; bucket < this.#marks.length; bucket += 1) {
        await this.#remove(target, bucket, ['', '']);
        for (const kind of ['fences', 'dead', 'expiry'] as const) {
          const key = this.#options.names.own(kind, target, bucket);
          await this.#look();
          await this.#options.link.send(key, ['UNLINK', key]);
        }
      }
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#stopWatching();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #applyTo(
    bucket: number,
    parts: readonly Part[],
    end: { readonly finish: readonly string[]; readonly state: readonly string[] },
  ): Promise<number> {
    const [mark = ''] = end.finish;
    const marks = this.#marks[bucket] as Marks;
    let applied = 0;
    for (let index = 0; index < parts.length - 1; index += 1) {
      applied += await this.#send(bucket, parts[index], ['', ''], []);
      point('sink.mid-apply');
    }
    const last = parts.at(-1);
    if (parts.length > 1) point('sink.after-apply-before-checkpoint');
    marks.sent = mark;
    // Fold state is in the first bucket; there is no other where there is any.
    applied += await this.#send(bucket, last, end.finish, bucket === 0 ? end.state : []);
    marks.known = mark;
    // Other buckets are still without it.
    if (this.#marks.length > 1) point('sink.after-checkpoint-before-commit');
    return applied;
  }

  async #send(
    bucket: number,
    part: Part | undefined,
    finish: readonly string[],
    state: readonly string[],
  ): Promise<number> {
    const { names } = this.#options;
    const blocks = part?.blocks ?? [];
    const keys: string[] = [this.#own('state', bucket)];
    const args: string[] = [...finish, String(state.length / 2), ...state, String(blocks.length)];
    for (const block of blocks) {
      keys.push(
        names.own('fences', block.target, bucket),
        names.own('dead', block.target, bucket),
        names.own('expiry', block.target, bucket),
      );
      for (const row of block.rows) keys.push(row);
      for (const set of block.sets) keys.push(set);
      block.pushArgs(args);
    }
    const [applied] = await this.#run(bucket, apply, keys, args);
    return Number(applied);
  }

  /** Runs a script under the guard, which is told what this session may find. */
  async #run(
    bucket: number,
    script: Script,
    keys: readonly string[],
    args: readonly string[],
  ): Promise<readonly unknown[]> {
    const { link, open, where } = this.#options;
    const { known, sent } = this.#marks[bucket] as Marks;
    const guard = [String(open.workerEpoch), known, sent];
    const reply = await script.run(link, [this.#own('flow', bucket), ...keys], guard.concat(args));
    try {
      return checkReply(reply, { flow: open.flow, workerEpoch: open.workerEpoch, where });
    } catch (error) {
      if (isTallyError(error, 'CONDITION_FAILED')) this.#lost.abort(error);
      throw error;
    }
  }

  /** Removes rows whose fence is before a limit, or all with an empty one; returns how many. */
  async #remove(
    target: string,
    bucket: number,
    limits: readonly [string, string],
  ): Promise<number> {
    const { link, names } = this.#options;
    const [limit] = limits;
    const fences = names.own('fences', target, bucket);
    const own = [fences, names.own('dead', target, bucket), names.own('expiry', target, bucket)];
    const prefix = names.rowPrefix(target, bucket);
    let removed = 0;
    for await (const page of scanFences(link, fences)) {
      const old = page
        .filter(([, held]) => limit === '' || (held < limit && !readFence(held).isTombstone))
        .map(([name]) => name);
      for (let from = 0; from < old.length; from += CHUNK_ROWS) {
        const chunk = old.slice(from, from + CHUNK_ROWS);
        const rows = chunk.map((name) => prefix + name);
        const [count] = await this.#run(bucket, remove, [...own, ...rows], [...limits, ...chunk]);
        removed += Number(count);
      }
    }
    return removed;
  }

  async #prune(target: string, bucket: number, limit: string): Promise<number> {
    const { names } = this.#options;
    const keys = [names.own('fences', target, bucket), names.own('dead', target, bucket)];
    let pruned = 0;
    for (;;) {
      const [count] = await this.#run(bucket, prune, keys, [limit, String(CHUNK_ROWS)]);
      pruned += Number(count);
      if (Number(count) < CHUNK_ROWS) return pruned;
    }
  }

  /** Fences of rows that have expired go when nothing older can arrive any more. */
  async #expire(target: string, bucket: number, limit: string): Promise<void> {
    const { names } = this.#options;
    const keys = [names.own('fences', target, bucket), names.own('expiry', target, bucket)];
    let kept = 0;
    for (;;) {
      const args = [limit, String(kept), String(CHUNK_ROWS)];
      const [seen, gone] = await this.#run(bucket, expire, keys, args);
      if (Number(seen) < CHUNK_ROWS) return;
      kept += Number(seen) - Number(gone);
    }
  }

  async #look(): Promise<void> {
    this.#check();
    for (let bucket = 0; bucket < this.#marks.length; bucket += 1)
      await this.#run(bucket, look, [], []);
  }

  /**
   * Looks from time to time: a flow to which nothing comes applies nothing, and would leave a target that was
   * emptied as it is until the next change.
   */
  #watch(): void {
    this.#stopWatching = this.#options.clock.after(WATCH_EVERY_MS, () => void this.#lookAgain());
  }

  async #lookAgain(): Promise<void> {
    try {
      await this.#look();
      await this.#options.refuseEviction();
    } catch (error) {
      // Somebody changed the policy: opening again says so, instead of writing what may be evicted.
      if (isTallyError(error, 'CONFIG_INVALID')) return this.#lost.abort(error);
      // A worker that was replaced learns that from its lease. Whoever cannot be reached may come back as it was.
      if (isTallyError(error, 'CONDITION_FAILED', 'FENCED_OUT', 'STORE_CLOSED')) return;
    }
    if (this.#open) this.#watch();
  }

  #own(kind: 'flow' | 'state', bucket: number): string {
    return this.#options.names.own(kind, this.#options.open.flow, bucket);
  }

  #needFoldState(): void {
    if (this.#options.supports.foldState) return;
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'several buckets keep no fold state: they could lose different writes, and it be counted twice',
      where: this.#options.where,
      mend: 'give the folded projection a store with buckets: 1',
      details: { capability: 'foldState' },
    });
  }

  #check(): void {
    if (!this.#open) throw closedStore(`sink of flow ${this.#options.open.flow}`);
  }
}

/** What the buckets of a flow hold. Throws STORE_CORRUPT. */
export async function readRecords(
  link: RedisLink,
  names: Names,
  flow: string,
  where: string,
): Promise<readonly BucketRecord[]> {
  return Promise.all(
    Array.from({ length: names.buckets }, async (_, bucket) => {
      const key = names.own('flow', flow, bucket);
      const reply = await link.send(key, ['HMGET', key, 'mark', 'checkpoint']);
      const [mark, text] = reply as readonly (string | null)[];
      return { mark: mark ?? '', checkpoint: parseCheckpoint(text ?? '', where) };
    }),
  );
}
