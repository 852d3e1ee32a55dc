import { Client } from 'pg';
import type { Key, Row } from '../../src/core/row.ts';
import type { WriteMode } from '../../src/core/write.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { SinkReport, SinkSession } from '../../src/ports/sink.ts';
import type { Targets } from '../../src/stores/postgres/sink/targets.ts';
import { targetSchema, type TargetSchema } from '../conformance/postgres-targets.ts';

/** One write: key, row or null, and where in the source it was. */
export interface Given {
  readonly key: Key;
  readonly row: Row | null;
  readonly offset?: number;
  readonly ordinal?: number;
  readonly epoch?: number;
  readonly mode?: WriteMode;
}

/** A schema with targets, a session on one of them, and plain SQL beside it. */
export interface SinkBed extends TargetSchema, AsyncDisposable {
  /** Opens a flow onto one target. */
  session(
    target: string,
    how?: { readonly generation?: number; readonly workerEpoch?: number; readonly flow?: string },
  ): Promise<SinkSession>;
  /** Applies one batch; writes without an offset get the next one. */
  apply(into: SinkSession, target: string, writes: readonly Given[]): Promise<SinkReport>;
  /** Runs a statement as another program does; values as the driver reads them. */
  sql(text: string): Promise<readonly Record<string, unknown>[]>;
}

/** Time passes only when a test says so. */
export interface ManualClock extends Clock {
  set(nowMs: number): void;
}

export function manualClock(startMs: number): ManualClock {
  let nowMs = startMs;
  return {
    set: (next) => {
      nowMs = next;
    },
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: () => Promise.resolve(),
    after: () => () => undefined,
  };
}

export async function sinkBed(url: string, targets: Targets, clock?: Clock): Promise<SinkBed> {
  const opened = await targetSchema(url, targets, clock);
  const client = new Client({ connectionString: opened.url });
  await client.connect();
  let next = 0;
  let log = 0;
  return {
    get database() {
      return opened.database;
    },
    get ports() {
      return opened.ports;
    },
    url: opened.url,
    reopen: () => opened.reopen(),
    dispose: () => opened.dispose(),
    session: (target, { generation = 1, workerEpoch = 1, flow = 'f' } = {}) =>
      opened.ports.sink.open({ flow, generation, targets: [{ target }], workerEpoch }),
    async apply(into, target, given) {
      next += 1;
      log += given.length;
      const writes = given.map(({ key, row, offset, ordinal, epoch, mode }, index) => ({
        target,
        key,
        row,
        mode: mode ?? ('stream' as const),
        epoch: epoch ?? 1,
        offset: offset ?? next,
        ordinal: ordinal ?? index,
      }));
      const last = writes.at(-1) ?? { epoch: 1, offset: next, ordinal: 0 };
      const at = { epoch: last.epoch, offset: last.offset, ordinal: last.ordinal };
      const through = { epoch: at.epoch, offset: at.offset };
      return into.apply({
        writes,
        state: [],
        checkpoint: { log, last: at, through, backfill: undefined },
      });
    },
    async sql(text) {
      return (await client.query<Record<string, unknown>>(text)).rows;
    },
    async [Symbol.asyncDispose]() {
      await client.end();
      await opened.dispose();
    },
  };
}
