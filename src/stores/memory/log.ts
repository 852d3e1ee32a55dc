import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions } from '../../core/options.ts';
import type {
  Log,
  LogAppender,
  LogBatch,
  LogRecord,
  LogSupports,
  LogTail,
  ReadOptions,
} from '../../ports/log.ts';
import { Connection, createMemoryState, wake, type LogState, type MemoryState } from './state.ts';

/** What a record costs beside its payload, as in a segment on disk. */
const RECORD_BYTES = 40;

/** How a memory log is made. */
export interface MemoryLogOptions {
  /** What outlives the log; not given: an empty one that nobody else holds. */
  readonly state?: MemoryState;
  /** Appends beyond this are refused with LOG_FULL; not given: none is. */
  readonly bytesMax?: number;
}

/** An open memory log, and a way to die. */
export interface MemoryLog extends Log {
  /** Ends it at once, as a killed process does: what is under way never reaches the state. */
  crash(): void;
}

/**
 * A log in this process, for tests and the simulator. Appends are atomic unless the state's hook
 * tears one. It counts as durable if the caller holds its state: only that can lose it.
 * Throws CONFIG_UNKNOWN_OPTION, CONFIG_INVALID.
 */
export function memoryLog(options: MemoryLogOptions = {}): MemoryLog {
  checkOptions(options, ['state', 'bytesMax'], 'memoryLog');
  const bytesMax =
    options.bytesMax === undefined
      ? Infinity
      : checkNumber(options.bytesMax, 'memoryLog.bytesMax', { min: 1 });
  const connection = new Connection(options.state ?? createMemoryState(), 'log');
  return new OpenMemoryLog(connection, { durable: options.state !== undefined }, bytesMax);
}

class OpenMemoryLog implements MemoryLog {
  readonly supports: LogSupports;
  readonly #connection: Connection;
  readonly #bytesMax: number;

  constructor(connection: Connection, supports: LogSupports, bytesMax: number) {
    this.#connection = connection;
    this.supports = supports;
    this.#bytesMax = bytesMax;
  }

  async openAppender(workerEpoch: number): Promise<LogAppender> {
    return this.#connection.unit({ port: 'log', operation: 'open', size: 1 }, () => {
      const { log } = this.#connection.state;
      fence(log, workerEpoch);
      log.workerEpoch = workerEpoch;
      return new MemoryAppender(this.#connection, workerEpoch, this.#bytesMax);
    });
  }

  async read(options: ReadOptions): Promise<LogBatch> {
    const { from, signal } = options;
    for (;;) {
      this.#connection.check();
      const { log } = this.#connection.state;
      // The wait starts in the same turn as the look, so that no append can fall in between.
      if (from < log.first + log.records.length)
        return this.#connection.unit({ port: 'log', operation: 'read', size: 0 }, () =>
          batchOf(log, options),
        );
      if (signal.aborted) return { first: from, next: from, records: [] };
      await this.#connection.changed(signal);
    }
  }

  async extent(): Promise<{ first: number; next: number; bytes: number }> {
    return this.#connection.unit({ port: 'log', operation: 'extent', size: 0 }, () => {
      const { first, records, bytes } = this.#connection.state.log;
      return { first, next: first + records.length, bytes };
    });
  }

  async release(before: number): Promise<void> {
    await this.#connection.unit({ port: 'log', operation: 'release', size: 1 }, () => {
      const { log } = this.#connection.state;
      const gone = Math.min(log.records.length, Math.max(0, before - log.first));
      for (const record of log.records.slice(0, gone)) log.bytes -= sizeOf(record);
      log.records = log.records.slice(gone);
      log.first += gone;
    });
  }

  crash(): void {
    this.#connection.drop();
  }

  async close(): Promise<void> {
    await Promise.resolve();
    this.#connection.drop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

class MemoryAppender implements LogAppender {
  readonly #connection: Connection;
  readonly #workerEpoch: number;
  readonly #bytesMax: number;
  #turn: Promise<unknown> = Promise.resolve();
  #failures = 0;
  #failure: unknown;
  #open = true;

  constructor(connection: Connection, workerEpoch: number, bytesMax: number) {
    this.#connection = connection;
    this.#workerEpoch = workerEpoch;
    this.#bytesMax = bytesMax;
  }

  get tail(): LogTail {
    const { first, records, last, commit } = this.#connection.state.log;
    return { next: first + records.length, last, commit };
  }

  /** In call order; an append that waits behind one that failed fails with it, or the order would have a gap. */
  async append(records: readonly LogRecord[]): Promise<{ readonly next: number }> {
    const failures = this.#failures;
    const mine = this.#turn.then(async () => {
      if (this.#failures !== failures) throw this.#failure;
      try {
        return await this.#put(records);
      } catch (error) {
        this.#failures += 1;
        this.#failure = error;
        throw error;
      }
    });
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async close(): Promise<void> {
    this.#open = false;
    await this.#turn;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #put(records: readonly LogRecord[]): Promise<{ readonly next: number }> {
    const { state } = this.#connection;
    return this.#connection.unit(
      { port: 'log', operation: 'append', size: records.length },
      (sizeMax) => {
        const { log } = state;
        if (!this.#open)
          throw new TallyError('STORE_CLOSED', {
            what: 'the appender was used after it was closed',
          });
        fence(log, this.#workerEpoch);
        const bytes = records.reduce((sum, record) => sum + sizeOf(record), log.bytes);
        if (bytes > this.#bytesMax)
          throw new TallyError('LOG_FULL', {
            what: `${bytes} bytes are over the bound of ${this.#bytesMax}`,
            mend: 'let the flows catch up, or raise bytesMax',
          });
        for (const record of records.slice(0, sizeMax)) keep(log, record);
        wake(state);
        if (sizeMax < records.length)
          throw new TallyError('STORE_UNREACHABLE', {
            what: `the log was torn after ${sizeMax} records of an append`,
          });
        return { next: log.first + log.records.length };
      },
    );
  }
}

function keep(log: LogState, record: LogRecord): void {
  const { kind, epoch, offset, ordinal, payload } = record;
  const kept: LogRecord = { kind, epoch, offset, ordinal, payload };
  log.records.push(kept);
  log.bytes += sizeOf(kept);
  log.last = { epoch, offset, ordinal };
  if (kind === 'commit') log.commit = kept;
}

function batchOf(log: LogState, { from, recordsMax, bytesMax }: ReadOptions): LogBatch {
  if (from < log.first)
    throw new TallyError('LOG_TRUNCATED', {
      what: `offset ${from} was released; the log starts at ${log.first}`,
      mend: 'rebuild what reads from there',
      details: { from, first: log.first },
    });
  const start = from - log.first;
  let end = start;
  for (let bytes = 0; end < log.records.length && end - start < recordsMax; end += 1) {
    bytes += Buffer.byteLength(log.records[end]?.payload ?? '');
    if (end > start && bytes > bytesMax) break;
  }
  return { first: from, next: log.first + end, records: log.records.slice(start, end) };
}

function sizeOf(record: LogRecord): number {
  return RECORD_BYTES + Buffer.byteLength(record.payload);
}

function fence(log: LogState, workerEpoch: number): void {
  if (workerEpoch >= log.workerEpoch) return;
  throw new TallyError('FENCED_OUT', {
    what: `an appender of epoch ${workerEpoch} was replaced by one of epoch ${log.workerEpoch}`,
    mend: 'nothing; the newer worker goes on',
    details: { workerEpoch, holder: log.workerEpoch },
  });
}
