import { TallyError } from '../../core/errors.ts';
import { checkNumber } from '../../core/options.ts';
import type { Key, Row } from '../../core/row.ts';
import type { Scan, ScanOptions } from '../../ports/scan.ts';
import type { RedisParts } from './parts.ts';
import type { Catalogue } from './sink/catalogue.ts';
import { readFence } from './sink/fence-text.ts';
import { scanFences } from './sink/fences.ts';
import { keyOfText, keyText } from './sink/key-text.ts';
import { decodeHash, decodeText } from './sink/layout.ts';
import type { Names } from './sink/names.ts';
import { readTargets } from './sink/sink.ts';
import type { HashField, TargetDeclaration } from './sink/targets.ts';

/**
 * Keys that are held in memory at once. Redis has no order of a target's keys, and keeping one would cost every
 * write: a scan walks over the fences once for each so many rows, and keeps the first that follow.
 */
const WINDOW_KEYS = 100_000;

/** Rows that are read at once. */
const READ_ROWS = 1_000;

interface ReadRow {
  readonly key: Key;
  readonly row: Row;
}

interface HeldKey {
  readonly text: string;
  readonly types: string;
}

/**
 * Reads targets in the order of their keys' texts, over the fences that stand beside them and not over the
 * server's whole key space. A row whose key has expired, or was removed past the coordinator, is left out; `count`
 * leaves out what has expired only. Throws TABLE_UNKNOWN for what no flow has filled, and ABORTED.
 */
export function openScan(parts: RedisParts, names: Names, catalogue: Catalogue): Scan {
  const { link, where } = parts;
  const check = async (target: string): Promise<void> => {
    if ((await readTargets(link, names)).has(target)) return;
    throw new TallyError('TABLE_UNKNOWN', {
      what: `no flow has filled the target ${target}`,
      where,
      mend: 'check the name; a target is there once a flow has opened it',
      details: { target },
    });
  };
  return {
    async *scan(target: string, options: ScanOptions): AsyncGenerator<readonly ReadRow[]> {
      const rowsMax = checkNumber(options.rowsMax, 'scan.rowsMax', { min: 1, integer: true });
      await check(target);
      const reader = new TargetReader(parts, names, catalogue, target);
      let after = options.after === undefined ? undefined : keyText(options.after);
      let page: ReadRow[] = [];
      for (;;) {
        const window = await reader.window(after, options.signal);
        for (let at = 0; at < window.length;) {
          checkAborted(options.signal, target);
          const wanted = window.slice(at, at + Math.min(rowsMax - page.length, READ_ROWS));
          at += wanted.length;
          // Rows that are gone leave room for others.
          page.push(...(await reader.rows(wanted)));
          if (page.length < rowsMax) continue;
          yield page;
          page = [];
        }
        if (window.length < WINDOW_KEYS) break;
        after = window.at(-1)?.text;
      }
      checkAborted(options.signal, target);
      if (page.length > 0) yield page;
    },
    async count(target: string): Promise<number> {
      await check(target);
      return new TargetReader(parts, names, catalogue, target).count();
    },
  };
}

class TargetReader {
  readonly #parts: RedisParts;
  readonly #names: Names;
  readonly #declaration: TargetDeclaration;
  readonly #target: string;

  constructor(parts: RedisParts, names: Names, catalogue: Catalogue, target: string) {
    this.#parts = parts;
    this.#names = names;
    this.#declaration = catalogue.declaration(target);
    this.#target = target;
  }

  /** The first keys after one, in order, as many as may be held. */
  async window(
    after: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<readonly HeldKey[]> {
    let held: HeldKey[] = [];
    let last: string | undefined;
    for (let bucket = 0; bucket < this.#names.buckets; bucket += 1) {
      for await (const page of scanFences(this.#parts.link, this.#own('fences', bucket))) {
        checkAborted(signal, this.#target);
        for (const [text, fence] of page) {
          if (after !== undefined && text <= after) continue;
          if (last !== undefined && text > last) continue;
          const { isTombstone, types } = readFence(fence);
          if (!isTombstone) held.push({ text, types });
        }
        if (held.length < 2 * WINDOW_KEYS) continue;
        held = firstOf(held);
        if (held.length === WINDOW_KEYS) last = held.at(-1)?.text;
      }
    }
    return firstOf(held);
  }

  /** The rows of these keys that are there. */
  async rows(keys: readonly HeldKey[]): Promise<readonly ReadRow[]> {
    const rows =
      this.#declaration.kind === 'hash'
        ? await this.#hashes(keys, this.#declaration.fields)
        : await this.#texts(keys);
    return keys.flatMap(({ text, types }, index) => {
      const row = rows[index];
      return row === undefined ? [] : [{ key: keyOfText(text, types), row }];
    });
  }

  async count(): Promise<number> {
    const counts = await Promise.all(
      Array.from({ length: this.#names.buckets }, async (_, bucket) => {
        const { link } = this.#parts;
        const ask = async (...args: readonly string[]): Promise<number> =>
          Number(await link.send(args[1], args));
        const [all, dead, expired] = await Promise.all([
          ask('HLEN', this.#own('fences', bucket)),
          ask('ZCARD', this.#own('dead', bucket)),
          this.#declaration.ttlMs === undefined
            ? 0
            : ask('ZCOUNT', this.#own('expiry', bucket), '-inf', `(${await this.#nowMs(bucket)}`),
        ]);
        return all - dead - expired;
      }),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async #texts(keys: readonly HeldKey[]): Promise<readonly (Row | undefined)[]> {
    const rows: (Row | undefined)[] = [];
    const places = new Map<number, number[]>();
    for (const [index, { text }] of keys.entries()) {
      const bucket = this.#names.bucketOf(text);
      const indexes = places.get(bucket);
      if (indexes === undefined) places.set(bucket, [index]);
      else indexes.push(index);
    }
    for (const [bucket, indexes] of places) {
      const names = indexes.map((index) => this.#row(keys[index]?.text ?? '', bucket));
      const reply = await this.#parts.link.send(names[0], ['MGET', ...names]);
      for (const [place, text] of (reply as readonly (string | null)[]).entries())
        rows[indexes[place] ?? 0] = text === null ? undefined : decodeText(text);
    }
    return rows;
  }

  async #hashes(
    keys: readonly HeldKey[],
    fields: Readonly<Record<string, HashField>>,
  ): Promise<readonly (Row | undefined)[]> {
    return Promise.all(
      keys.map(async ({ text }) => {
        const key = this.#row(text, this.#names.bucketOf(text));
        const reply = await this.#parts.link.send(key, ['HGETALL', key]);
        const held = Object.entries(reply as Readonly<Record<string, string>>);
        return held.length === 0 ? undefined : decodeHash(new Map(held), fields);
      }),
    );
  }

  async #nowMs(bucket: number): Promise<string> {
    const key = this.#own('expiry', bucket);
    const reply = await this.#parts.link.send(key, ['EVAL', "return redis.call('TIME')", '1', key]);
    const [seconds, micros] = reply as readonly [string, string];
    return String(Number(seconds) * 1000 + Math.floor(Number(micros) / 1000));
  }

  #row(text: string, bucket: number): string {
    return this.#names.rowPrefix(this.#target, bucket) + text;
  }

  #own(kind: 'fences' | 'dead' | 'expiry', bucket: number): string {
    return this.#names.own(kind, this.#target, bucket);
  }
}

/** Sorted, each once, as many as may be held. */
function firstOf(keys: readonly HeldKey[]): HeldKey[] {
  const sorted = keys.toSorted((left, right) =>
    left.text < right.text ? -1 : left.text > right.text ? 1 : 0,
  );
  return sorted
    .filter(({ text }, index) => index === 0 || sorted[index - 1]?.text !== text)
    .slice(0, WINDOW_KEYS);
}

function checkAborted(signal: AbortSignal | undefined, target: string): void {
  if (signal?.aborted !== true) return;
  throw new TallyError('ABORTED', { what: 'the scan was given up', where: `target ${target}` });
}
