import assert from 'node:assert/strict';
import { isTallyError, type ErrorCode } from '../core/errors.ts';
import { encodeKey, encodeValue } from '../core/codec.ts';
import type { Position } from '../core/position.ts';
import type { Key, Row, Value } from '../core/row.ts';
import type { Write, WriteMode } from '../core/write.ts';
import type {
  Checkpoint,
  FailedWrite,
  OpenSinkOptions,
  Sink,
  SinkReport,
  SinkSession,
  SinkSupports,
  StateWrite,
  TargetShape,
} from '../ports/sink.ts';
import type { SuiteRunner } from './harness.ts';

/** What a column of a suite's table holds; `any` takes values of every scalar type. */
export type ColumnKind =
  'text' | 'whole' | 'fraction' | 'big' | 'bytes' | 'boolean' | 'list' | 'object' | 'any';

/** A table that a suite writes to, for stores that must create it beforehand. */
export interface SuiteTable {
  readonly name: string;
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, ColumnKind>>;
}

/** Every target that the sink suite writes to. Rows carry all columns, those of the key included. */
export const sinkTargets: readonly SuiteTable[] = [
  { name: 'products', key: ['sku'], columns: { sku: 'text', name: 'text', price: 'whole' } },
  {
    name: 'orders',
    key: ['shop', 'number'],
    columns: { shop: 'text', number: 'whole', total: 'whole' },
  },
  { name: 'keys', key: ['id'], columns: { id: 'any', name: 'text' } },
  {
    name: 'kinds',
    key: ['id'],
    columns: {
      id: 'text',
      text: 'text',
      whole: 'whole',
      fraction: 'fraction',
      big: 'big',
      bytes: 'bytes',
      boolean: 'boolean',
      negativeZero: 'fraction',
      infinity: 'fraction',
      nan: 'fraction',
      list: 'list',
      object: 'object',
    },
  },
];

/**
 * One target store under test: durable state that outlives the connections made to it. `sink` and
 * `read` belong to the present connection.
 */
export interface SinkSubject {
  readonly sink: Sink;
  /** What users of the target see, by the canonical text of the key, without the coordinator's own columns. */
  read(target: string): Promise<ReadonlyMap<string, Row>>;
  /** Drops the connection as a crash would, and connects to the same durable state again. */
  reopen(): Promise<void>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

/** What {@link sinkConformance} needs of an adapter. */
export interface SinkConformanceOptions extends SuiteRunner {
  /** The adapter's manifest: decides which of each pair of cases runs. */
  readonly supports: SinkSupports;
  /** A fresh, empty subject that has, or creates by itself, the tables of {@link sinkTargets}. */
  readonly open: () => Promise<SinkSubject>;
}

/** One named policy of the suite. Two cases with one id are a pair: what a store does, or how it refuses. */
export interface SinkCase {
  readonly id: string;
  readonly policy: string;
  readonly when?: (supports: SinkSupports) => boolean;
  readonly run: (bench: SinkBench) => Promise<void>;
}

/** The shapes of the named suite targets. */
export function shapes(...names: readonly string[]): readonly TargetShape[] {
  return names.map((name) => {
    const table = sinkTargets.find((candidate) => candidate.name === name);
    assert.ok(table, `the suite has no target ${name}`);
    return { target: name, key: table.key };
  });
}

/** A place: offset, and unless told otherwise ordinal 0 in epoch 1. */
export interface At {
  readonly offset: number;
  readonly ordinal?: number;
  readonly epoch?: number;
}

function identity(at: At): Position & { readonly ordinal: number } {
  return { epoch: at.epoch ?? 1, offset: at.offset, ordinal: at.ordinal ?? 0 };
}

/** A write to any target. */
export function write(target: string, key: Key, row: Row | null, at: At, mode?: WriteMode): Write {
  return { target, key, row, mode: mode ?? 'stream', ...identity(at) };
}

/** A row of `products`. */
export function product(sku: string, name: string, price = 100): Row {
  return { sku, name, price };
}

/** A write of a product, or with name null its deletion. */
export function put(sku: string, name: string | null, at: At, mode?: WriteMode): Write {
  return write('products', [sku], name === null ? null : product(sku, name), at, mode);
}

/** A checkpoint after everything up to `at`. */
export function checkpointAt(log: number, at: At): Checkpoint {
  const last = identity(at);
  const through = { epoch: last.epoch, offset: last.offset };
  return { log, last, through, backfill: undefined };
}

/** Text that is equal for equal values, whatever the order of an object's members. */
export function canonical(value: Value): string {
  return encodeValue(sorted(value));
}

function sorted(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(sorted);
  const entries = Object.entries(value as Row).toSorted(([left], [right]) =>
    left < right ? -1 : 1,
  );
  return Object.fromEntries(entries.map(([name, item]) => [name, sorted(item)]));
}

/** Asserts that a promise rejects with one of these codes. */
export async function rejects(
  promise: Promise<unknown>,
  ...codes: readonly ErrorCode[]
): Promise<void> {
  await assert.rejects(
    promise,
    (error) => {
      assert.ok(
        isTallyError(error, ...codes),
        `expected ${codes.join(' or ')}, got ${String(error)}`,
      );
      return true;
    },
    `expected a rejection with ${codes.join(' or ')}`,
  );
}

/** A subject with the steps that cases are written in. */
export class SinkBench {
  readonly subject: SinkSubject;
  readonly supports: SinkSupports;
  #log = 0;

  constructor(subject: SinkSubject, supports: SinkSupports) {
    this.subject = subject;
    this.supports = supports;
  }

  get sink(): Sink {
    return this.subject.sink;
  }

  /** Opens generation 1 of flow `shop` onto `products` under worker epoch 1, unless told otherwise. */
  session(options: Partial<OpenSinkOptions> = {}): Promise<SinkSession> {
    return this.sink.open({
      flow: 'shop',
      generation: 1,
      targets: shapes('products'),
      workerEpoch: 1,
      ...options,
    });
  }

  /** Applies writes with a checkpoint just after the last of them. */
  async apply(
    session: SinkSession,
    writes: readonly Write[],
    state: readonly StateWrite[] = [],
  ): Promise<SinkReport> {
    this.#log += writes.length;
    const last = writes.at(-1) ?? { offset: this.#log };
    return session.apply({ writes, state, checkpoint: checkpointAt(this.#log, last) });
  }

  /** Applies writes one batch each, and asserts what became of each: applied, or refused as older. */
  async applyEach(
    session: SinkSession,
    ...steps: readonly (readonly [Write, 'applied' | 'older'])[]
  ): Promise<void> {
    for (const [step, outcome] of steps) {
      const report = await this.apply(session, [step]);
      const counts = outcome === 'applied' ? { applied: 1, older: 0 } : { applied: 0, older: 1 };
      const label = `${step.mode} write at ${step.epoch}/${step.offset}/${step.ordinal}`;
      assert.deepEqual({ ...report }, { ...counts, failed: [] }, label);
    }
  }

  /** Asserts that users see exactly these rows in a target. */
  async sees(target: string, expected: readonly (readonly [Key, Row])[]): Promise<void> {
    const rows = await this.subject.read(target);
    const seen = [...rows].map(([key, row]) => `${key} ${canonical(row)}`).toSorted();
    const wanted = expected.map(([key, row]) => `${encodeKey(key)} ${canonical(row)}`).toSorted();
    assert.deepEqual(seen, wanted, `rows that users see in ${target}`);
  }

  /** Asserts that users see exactly these products, given as sku and name. */
  async seesProducts(names: Readonly<Record<string, string>>): Promise<void> {
    const rows = Object.entries(names).map(([sku, name]) => [[sku], product(sku, name)] as const);
    await this.sees('products', rows);
  }
}

/** Asserts that exactly one write failed, at this index and with this code. */
export function failedOnce(report: SinkReport, index: number, code: ErrorCode): void {
  const failed: readonly FailedWrite[] = report.failed;
  assert.deepEqual(
    failed.map((failure) => [failure.index, failure.error.code]),
    [[index, code]],
  );
}
