import { TallyError } from '../../../core/errors.ts';
import { packFence } from '../../../core/fence.ts';
import { suggest } from '../../../core/options.ts';
import { ORDINAL_MAX, type Position } from '../../../core/position.ts';
import { point } from '../../../observe/point.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  SinkBatch,
  SinkReport,
  SinkSession,
} from '../../../ports/sink.ts';
import { BatchWriter, type Outcome } from './apply.ts';
import type { Catalogue } from './catalogue.ts';
import { ANSWER_MS, CommitRefused, type Tx, type WriterConnection } from './connection.ts';
import type { Host } from './host.ts';
import { targetNames, type Schemas, type TargetNames } from './names.ts';
import {
  forgetGeneration,
  holdText,
  isBefore,
  readHeld,
  registerGeneration,
  writeCheckpoint,
  writeState,
  type FlowRecord,
} from './records.ts';
import { isRowError, refused } from './refusal.ts';
import { emptyTarget, tableColumns } from './schema.ts';
import { TargetWriter } from './writer.ts';

/** What a step finds once it holds the flow. */
interface Held {
  readonly tx: Tx;
  readonly checkpoint: Checkpoint | null;
  readonly writers: ReadonlyMap<string, TargetWriter>;
}

/** How a batch is written: at once, or looking for rows that are refused, at the latest when constraints end it. */
type Care = 'at-once' | 'row-by-row' | 'row-by-row-immediate';

/**
 * One flow's hold on its targets. Every step is one transaction that first locks the flow's record and reads it: a
 * worker that was replaced, or whose generation was switched away, ends there. Otherwise: 1. worker A stalls before
 * its batch 2. worker B takes over and passes the same changes 3. A wakes up and moves the checkpoint back.
 */
export class PostgresSinkSession implements SinkSession {
  readonly #host: Host;
  readonly #catalogue: Catalogue;
  readonly #schemas: Schemas;
  readonly #connection: WriterConnection;
  readonly #options: OpenSinkOptions;
  #writers: ReadonlyMap<string, TargetWriter> = new Map();
  #place: 'seen' | 'building' | undefined;
  #open = true;

  constructor(
    parts: {
      readonly host: Host;
      readonly catalogue: Catalogue;
      readonly schemas: Schemas;
      readonly connection: WriterConnection;
    },
    options: OpenSinkOptions,
  ) {
    this.#host = parts.host;
    this.#catalogue = parts.catalogue;
    this.#schemas = parts.schemas;
    this.#connection = parts.connection;
    this.#options = options;
  }

  /**
   * Under the lock, like every step: after a connection that was lost during COMMIT, the server may still be at it,
   * and a checkpoint that was read without waiting for it would be the one before.
   */
  async checkpoint(): Promise<Checkpoint | undefined> {
    return this.#step(({ checkpoint }) => Promise.resolve(checkpoint ?? undefined), {
      keep: () => false,
      answerMs: ANSWER_MS,
    });
  }

  async apply(batch: SinkBatch): Promise<SinkReport> {
    this.#assertOpen();
    point('sink.before-apply');
    const report = await this.#applyOnce(batch, 'at-once').catch((error: unknown) => {
      // The connection has rolled all of it back; now the rows are found that are to blame.
      if (error instanceof CommitRefused) return this.#applyOnce(batch, 'row-by-row-immediate');
      if (isRowError(error)) return this.#applyOnce(batch, 'row-by-row');
      throw error;
    });
    if (report.failed.length === 0) point('sink.after-commit');
    return report;
  }

  async readState(names: readonly string[]): Promise<readonly (string | null)[]> {
    this.#assertOpen();
    if (names.length === 0) return [];
    const { flow, generation, workerEpoch } = this.#options;
    const { database } = this.#host;
    const { schema } = database;
    // One statement, without a lock: that would cost a write to the disk.
    const rows = await this.#connection.read(
      `SELECT f.worker_epoch, s.value FROM ${schema}.sink_flows f
       JOIN ${schema}.sink_checkpoints c ON c.flow = f.flow AND c.generation = $2
       CROSS JOIN unnest($3::text[]) WITH ORDINALITY AS n(name, place)
       LEFT JOIN ${schema}.sink_state s ON s.flow = f.flow AND s.generation = $2 AND s.name = n.name
       WHERE f.flow = $1 ORDER BY n.place`,
      [flow, generation, [...names]],
    );
    const [first] = rows;
    if (first === undefined) throw goneGeneration(flow, generation);
    if (Number(first[0]) !== workerEpoch) throw fencedOut(flow, workerEpoch, Number(first[0]));
    return rows.map(([, value]) => (typeof value === 'string' ? value : null));
  }

  async sweep(targets: readonly string[], before: Position): Promise<number> {
    const fence = packFence(before);
    return this.#step(async ({ tx, writers }) => {
      let count = 0;
      for (const target of targets)
        count += await tx.execute({
          text: this.#writer(writers, target).sweepText(),
          values: [fence, ORDINAL_MAX],
        });
      return count;
    });
  }

  async prune(before: Position): Promise<number> {
    const fence = packFence(before);
    return this.#step(async ({ tx, writers }) => {
      let count = 0;
      for (const writer of writers.values())
        count += await tx.execute({ text: writer.pruneText(), values: [fence] });
      return count;
    });
  }

  async reset(): Promise<void> {
    const { flow, generation, targets } = this.#options;
    const { schema } = this.#host.database;
    const place = { flow, generation };
    await this.#step(async ({ tx, writers }) => {
      for (const { names } of writers.values()) await emptyTarget(tx, names, this.#place ?? 'seen');
      await forgetGeneration(tx, schema, place);
      const held = targets.map(({ target }) => target);
      await registerGeneration(tx, schema, place, held);
    });
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#writers = new Map();
    await this.#host.release(this.#connection);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #step<Result>(
    work: (held: Held) => Promise<Result>,
    how: { readonly keep?: (result: Result) => boolean; readonly answerMs?: number } = {},
  ): Promise<Result> {
    this.#assertOpen();
    const { schema } = this.#host.database;
    try {
      return await this.#connection.transaction(
        holdText(schema, this.#options),
        async (tx, rows) => work(await this.#hold(tx, readHeld(rows))),
        how,
      );
    } catch (error) {
      // Somebody may have altered a table: its columns are looked up again.
      this.#place = undefined;
      throw error;
    }
  }

  /** Checks that this worker may still write, and finds its tables under their present names. */
  async #hold(
    tx: Tx,
    {
      record,
      checkpoint,
    }: {
      readonly record: FlowRecord | undefined;
      readonly checkpoint: Checkpoint | null | undefined;
    },
  ): Promise<Held> {
    const { flow, generation, workerEpoch, targets } = this.#options;
    if (record === undefined || checkpoint === undefined) throw goneGeneration(flow, generation);
    if (record.workerEpoch !== workerEpoch) throw fencedOut(flow, workerEpoch, record.workerEpoch);
    const place = record.generation === generation ? 'seen' : 'building';
    if (this.#place !== place) {
      const writers = new Map<string, TargetWriter>();
      for (const shape of targets) {
        const names = this.#names(shape.target, place);
        const layout = this.#catalogue.layoutFor(shape);
        const columns = layout.typed ? await tableColumns(tx, names.table) : [];
        // A table that is gone has no columns: its first statement says so, and the runner opens the sink again.
        if (layout.typed && columns.length === 0) throw goneTable(names);
        writers.set(shape.target, new TargetWriter(names, layout, layout.codec(columns)));
      }
      this.#writers = writers;
      this.#place = place;
    }
    return { tx, checkpoint, writers: this.#writers };
  }

  async #applyOnce(batch: SinkBatch, care: Care): Promise<SinkReport> {
    const { length } = batch.writes;
    const { applied, failed } = await this.#step((held) => this.#applyAll(held, batch, care), {
      keep: (outcome) => outcome.failed.length === 0,
      answerMs: ANSWER_MS,
    });
    return failed.length > 0
      ? { applied: 0, older: 0, failed }
      : { applied, older: length - applied, failed };
  }

  async #applyAll(
    { tx, checkpoint, writers }: Held,
    batch: SinkBatch,
    care: Care,
  ): Promise<Outcome> {
    const { schema } = this.#host.database;
    const writer = new BatchWriter(tx, writers, batch.writes, this.#host.clock.nowMs());
    if (care === 'row-by-row-immediate') await tx.script('SET CONSTRAINTS ALL IMMEDIATE');
    const outcome = care === 'at-once' ? await writer.all() : await writer.carefully();
    if (outcome.failed.length > 0) return outcome;
    point('sink.after-apply-before-checkpoint');
    if (!isBefore(batch.checkpoint, checkpoint)) {
      await writeState(tx, schema, this.#options, batch.state);
      await writeCheckpoint(tx, schema, this.#options, batch.checkpoint);
    }
    point('sink.after-checkpoint-before-commit');
    return outcome;
  }

  #writer(writers: ReadonlyMap<string, TargetWriter>, target: string): TargetWriter {
    const writer = writers.get(target);
    if (writer !== undefined) return writer;
    const nearest = suggest(target, [...writers.keys()]);
    throw refused(
      `the flow was not opened for a target ${target}`,
      { target, ...(nearest === undefined ? {} : { nearest }) },
      `${nearest === undefined ? '' : `did you mean ${nearest}? `}name the target in the flow`,
    );
  }

  #names(target: string, place: 'seen' | 'building'): TargetNames {
    return targetNames(this.#schemas, target, this.#options.generation, place);
  }

  #assertOpen(): void {
    if (this.#open) return;
    throw new TallyError('STORE_CLOSED', {
      what: 'the session was used after it was closed',
      where: `flow ${this.#options.flow}`,
    });
  }
}

/** FENCED_OUT: a newer worker has opened the flow. */
export function fencedOut(flow: string, workerEpoch: number, newer: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `a worker of epoch ${workerEpoch} was replaced by one of epoch ${newer}`,
    where: `flow ${flow}`,
    mend: 'nothing; the newer worker goes on',
    details: { flow, workerEpoch, holder: newer },
  });
}

/** FENCED_OUT: a generation that is no longer, or not yet, in the database. */
export function goneGeneration(flow: string, generation: number): TallyError {
  return new TallyError('FENCED_OUT', {
    what: `generation ${generation} is not there: it was switched away from, or never opened`,
    where: `flow ${flow}`,
    mend: 'open the generation that the sink names as current',
    details: { flow, generation },
  });
}

/** The table was dropped under the flow; opening the sink again makes it anew. */
function goneTable({ table, target }: TargetNames): TallyError {
  return new TallyError('STORE_UNREACHABLE', {
    what: `the table ${table} is gone`,
    where: `target ${target}`,
    mend: 'nothing; the flow makes it again and fills it',
    details: { target, table },
  });
}
