import { isTallyError, TallyError } from '../../../core/errors.ts';
import type { Write } from '../../../core/write.ts';
import type { FailedWrite } from '../../../ports/sink.ts';
import type { Catalogue } from './catalogue.ts';
import { FenceWriter } from './fence-text.ts';
import { keyText, keyTypes } from './key-text.ts';
import { encodeRow } from './layout.ts';
import type { Names } from './names.ts';
import type { TargetDeclaration } from './targets.ts';

/**
 * Writes, and characters, that one script takes: Redis serves nobody else while it runs (2 000 small rows: about
 * 5 ms). What is more goes in several scripts, the checkpoint with the last.
 */
const SCRIPT_WRITES_MAX = 2_000;
const SCRIPT_CHARACTERS_MAX = 4 * 2 ** 20;

/** What one script does to one bucket. */
export interface Part {
  readonly blocks: readonly Block[];
  readonly writes: number;
}

/** A batch, ready to be sent. */
export interface EncodedBatch {
  /** The parts of each bucket that has any, in the order of the writes. */
  readonly parts: ReadonlyMap<number, readonly Part[]>;
  readonly failed: readonly FailedWrite[];
}

/** Rows that are written the same way, column by column. */
export class Block {
  readonly target: string;
  readonly head: readonly string[];
  readonly names: string[] = [];
  readonly fences: string[] = [];
  readonly values: string[] = [];
  readonly rows: string[] = [];
  readonly sets: string[] = [];

  constructor(target: string, head: readonly string[]) {
    this.target = target;
    this.head = head;
  }

  /** The arguments, as the script wants them. */
  pushArgs(into: string[]): void {
    const [operation = '', ...rest] = this.head;
    into.push(operation, String(this.names.length), ...rest);
    for (const column of [this.names, this.fences, this.values])
      for (const text of column) into.push(text);
  }
}

/** What is known of a target while a batch is encoded. */
interface Place {
  readonly target: string;
  readonly declaration: TargetDeclaration;
  readonly prefixes: readonly string[];
}

/** Turns the writes of a session's batches into blocks. */
export class BatchEncoder {
  readonly #places = new Map<string, Place>();
  readonly #names: Names;
  readonly #bytesMax: number;
  readonly #fences = new FenceWriter();
  readonly #flow: string;

  constructor(flow: string, targets: readonly string[], catalogue: Catalogue, names: Names) {
    this.#flow = flow;
    this.#names = names;
    this.#bytesMax = catalogue.rowBytesMax;
    for (const target of targets)
      this.#places.set(target, {
        target,
        declaration: catalogue.declaration(target),
        prefixes: Array.from({ length: names.buckets }, (_, bucket) =>
          names.rowPrefix(target, bucket),
        ),
      });
  }

  encode(writes: readonly Write[]): EncodedBatch {
    const open = new Map<number, OpenPart>();
    const failed: FailedWrite[] = [];
    for (let index = 0; index < writes.length; index += 1) {
      try {
        this.#encode(writes[index] as Write, open);
      } catch (error) {
        if (!isTallyError(error)) throw error;
        failed.push({ index, error });
      }
    }
    const parts = new Map<number, readonly Part[]>();
    for (const [bucket, part] of open) parts.set(bucket, part.end());
    return { parts, failed };
  }

  #encode(write: Write, open: Map<number, OpenPart>): void {
    const place = this.#places.get(write.target);
    if (place === undefined) throw notOpened(this.#flow, write.target);
    const fence = this.#fences.text(write);
    const text = keyText(write.key);
    const encoded =
      write.row === null ? undefined : encodeRow(place.declaration, write.row, this.#bytesMax);
    const bucket = this.#names.bucketOf(text);
    let part = open.get(bucket);
    if (part === undefined) {
      part = new OpenPart();
      open.set(bucket, part);
    }
    const values = encoded?.values ?? [];
    const block = part.block(place, write, values.length);
    block.names.push(text);
    block.fences.push(fence);
    block.rows.push((place.prefixes[bucket] ?? '') + text);
    let characters = 2 * text.length + fence.length;
    for (const value of values) {
      block.values.push(value);
      characters += value.length;
    }
    if (place.declaration.kind === 'sortedSet' && encoded !== undefined)
      block.sets.push(this.#names.sortedSet(place.target, encoded.group, bucket));
    part.added(characters);
  }
}

/** The parts of one bucket while they are filled. */
class OpenPart {
  readonly #parts: Part[] = [];
  #blocks = new Map<string, Block>();
  #last: Block | undefined;
  #lastLike: string | undefined;
  #writes = 0;
  #characters = 0;

  block(place: Place, { key, row, mode }: Write, width: number): Block {
    const types = keyTypes(key);
    const like = `${place.target}:${row === null ? '-' : width}:${mode === 'repair' ? 1 : 0}${types}`;
    if (like === this.#lastLike && this.#last !== undefined) return this.#last;
    let block = this.#blocks.get(like);
    if (block === undefined) {
      block = new Block(place.target, headOf(place.declaration, { row, mode, width, types }));
      this.#blocks.set(like, block);
    }
    this.#last = block;
    this.#lastLike = like;
    return block;
  }

  added(characters: number): void {
    this.#writes += 1;
    this.#characters += characters;
    if (this.#writes >= SCRIPT_WRITES_MAX || this.#characters >= SCRIPT_CHARACTERS_MAX) this.#cut();
  }

  end(): readonly Part[] {
    if (this.#writes > 0) this.#cut();
    return this.#parts;
  }

  #cut(): void {
    this.#parts.push({ blocks: [...this.#blocks.values()], writes: this.#writes });
    this.#blocks = new Map();
    this.#last = undefined;
    this.#writes = 0;
    this.#characters = 0;
  }
}

const operations = { json: 'set', hash: 'hash', sortedSet: 'index' } as const;

function headOf(
  { kind, ttlMs }: TargetDeclaration,
  like: {
    readonly row: Write['row'];
    readonly mode: Write['mode'];
    readonly width: number;
    readonly types: string;
  },
): readonly string[] {
  const isDelete = like.row === null;
  return [
    isDelete ? 'del' : operations[kind],
    like.mode === 'repair' ? '1' : '',
    isDelete ? '-' : like.types === '' ? '' : `.${like.types}`,
    String(like.width),
    ttlMs === undefined ? '' : String(ttlMs),
  ];
}

function notOpened(flow: string, target: string): TallyError {
  return new TallyError('WRITE_REFUSED', {
    what: `flow ${flow} was not opened for target ${target}`,
    mend: 'name the target in the declaration of the flow',
    details: { flow, target },
  });
}
