import { capture } from '../flow/capture.ts';
import { TallyError } from '../core/errors.ts';
import { acceptHistory } from '../flow/epochs.ts';
import type { FlowDefinition } from '../flow/definition.ts';
import type { FlowState } from '../flow/generation.ts';
import type { ProgressBoard } from '../flow/progress.ts';
import { FlowRunner, type FlowRequest } from '../flow/runner.ts';
import { FlowMeter } from '../observe/meter.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Checkpoint, Sink } from '../ports/sink.ts';
import type { Position } from '../core/position.ts';
import { supervise, type WorkerState } from '../runtime/supervisor.ts';
import { refreshEpoch, sinkOf, type FlowEnds, type Lane } from './lanes.ts';
import type { FlowStatus, LaneStatus } from './status.ts';

export interface WorkerOptions {
  readonly flows: Readonly<Record<string, FlowDefinition>>;
  readonly ends: FlowEnds;
  readonly lanes: ReadonlyMap<string, Lane>;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
  readonly owner: string;
  readonly isDead: (owner: string) => boolean;
  readonly board: ProgressBoard;
}

/** How often a source is asked what it keeps. */
const RETAINED_EVERY_MS = 5_000;

/** The capture of one lane, supervised. */
class LaneWorker {
  readonly lane: Lane;
  readonly #options: WorkerOptions;
  readonly #signal: AbortSignal;
  #worker: WorkerState = { kind: 'running' };
  #state: LaneStatus['state'] = 'starting';
  #captured = 0;
  #head: Position | undefined;
  #extent: LaneStatus['log'] = { first: 0, next: 0, bytes: 0 };
  #retained: LaneStatus['retained'];
  #retainedAtMs = -Infinity;
  #pause = new AbortController();
  #done: Promise<void>;
  #takingUp: Promise<number> | undefined;

  constructor(lane: Lane, options: WorkerOptions, signal: AbortSignal) {
    this.lane = lane;
    this.#options = options;
    this.#signal = signal;
    this.#done = this.#supervise();
  }

  get done(): Promise<void> {
    return this.#done;
  }

  /**
   * Takes up the present history as a new epoch. The capture is stopped before and started after: else it
   * would go on in the old epoch, and the flows would never see the new one begin.
   */
  resnapshot(): Promise<number> {
    // Asked twice at once it is done once: each would start a capture, and both would log under one lease.
    this.#takingUp ??= this.#takeUp().finally(() => {
      this.#takingUp = undefined;
    });
    return this.#takingUp;
  }

  async #takeUp(): Promise<number> {
    const { ledger, clock } = this.#options;
    if (this.#worker.kind === 'standby') throw runsElsewhere(`lane ${this.lane.name}`);
    this.#pause.abort();
    await this.#done;
    try {
      // What capture needs at the source first. Otherwise: 1. a slot was dropped, its record still names the history
      // of before  2. that is accepted  3. capture makes a new slot, whose history nobody has accepted.
      await this.lane.source.prepare(this.lane.tables);
      const history = await this.lane.source.history();
      const epoch = await acceptHistory(ledger, this.lane.name, history, clock.nowMs());
      this.lane.epoch = { epoch, history };
    } finally {
      this.#done = this.#supervise();
    }
    return this.lane.epoch.epoch;
  }

  /** Takes note of an epoch that another process has taken up: evidence is of the present one. */
  async refresh(): Promise<void> {
    if (!this.#historyLost) await refreshEpoch(this.lane, this.#options.ledger);
  }

  async status(): Promise<LaneStatus> {
    const { name, log } = this.lane;
    // A log that cannot be read is what the state says: the status of everything else is as it is.
    this.#extent = await log.extent().catch(() => this.#extent);
    await this.#askRetained();
    return {
      lane: name,
      worker: this.#worker,
      state: this.#state,
      captured: this.#captured,
      head: this.#head,
      log: this.#extent,
      retained: this.#retained,
    };
  }

  /** Seldom: it is a query at the source, and changes slowly unless something is wrong. */
  async #askRetained(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#retainedAtMs < RETAINED_EVERY_MS) return;
    this.#retainedAtMs = nowMs;
    this.#retained = await this.lane.source.retained().catch(() => undefined);
  }

  #supervise(): Promise<void> {
    const { ledger, clock, random, owner, isDead } = this.#options;
    const { name, source, tables, log } = this.lane;
    this.#pause = new AbortController();
    const observer = {
      state: (state: LaneStatus['state']) => {
        this.#state = state;
      },
      captured: (changes: number, head: Position) => {
        this.#captured += changes;
        if (head.offset > 0) this.#head = { epoch: head.epoch, offset: head.offset };
      },
    };
    return supervise({
      clock,
      random,
      signal: AbortSignal.any([this.#signal, this.#pause.signal]),
      run: (signal) =>
        capture({
          lane: name,
          source,
          tables,
          log,
          ledger,
          clock,
          owner,
          isDead,
          observer,
          signal,
        }),
      onState: (state) => {
        this.#worker = state;
        // A file that was restored has the same identity, and gives out offsets again that it had given out:
        // evidence of a write made now must not be covered by what was applied before.
        if (this.#historyLost) this.lane.epoch = { ...this.lane.epoch, epoch: 0 };
      },
    });
  }

  get #historyLost(): boolean {
    return this.#worker.kind === 'failed' && this.#worker.code === 'HISTORY_LOST';
  }
}

/** One flow, supervised. */
class FlowWorker {
  readonly name: string;
  readonly #definition: FlowDefinition;
  readonly #lane: Lane;
  readonly #clock: Clock;
  readonly #ledger: Ledger;
  readonly #runner: FlowRunner;
  readonly #sink: Sink;
  readonly #meter = new FlowMeter();
  readonly #supervise: () => Promise<void>;
  #done: Promise<void>;
  #worker: WorkerState = { kind: 'running' };
  #state: FlowState = 'starting';
  #checkpoint: Checkpoint | undefined;
  /** As the log last said. */
  #behind = 0;

  constructor(
    name: string,
    definition: FlowDefinition,
    lane: Lane,
    options: WorkerOptions,
    signal: AbortSignal,
  ) {
    const { ledger, clock, random, owner, isDead, ends, board } = options;
    this.name = name;
    this.#definition = definition;
    this.#lane = lane;
    this.#clock = clock;
    this.#ledger = ledger;
    this.#sink = sinkOf(name, definition, ends);
    this.#runner = new FlowRunner({
      name,
      definition,
      lane: lane.name,
      source: lane.source,
      sink: this.#sink,
      log: lane.log,
      ledger,
      clock,
      random,
      owner,
      isDead,
      observer: {
        state: (state) => {
          this.#state = state;
        },
        applied: (report) => this.#meter.record(clock.nowMs(), report),
        parked: (size) => {
          this.#meter.parked = size;
        },
        progress: (checkpoint, parkedUnits, throughAtMs) => {
          this.#checkpoint = checkpoint;
          board.publish(name, {
            lane: lane.name,
            through: checkpoint.through,
            throughAtMs,
            parkedUnits,
          });
        },
      },
    });
    this.#supervise = () =>
      supervise({
        clock,
        random,
        signal,
        run: (inner) => this.#runner.run(inner),
        onState: (state) => {
          this.#worker = state;
        },
      });
    this.#done = this.#supervise();
  }

  get done(): Promise<void> {
    return this.#done;
  }

  /** Whether this process runs it; before it has the lease, and on standby, another may. */
  get isHere(): boolean {
    return this.#worker.kind !== 'standby' && this.#state !== 'starting';
  }

  get from(): string {
    return this.#definition.from;
  }

  /** The log offset that this flow still needs, here or in the process that runs it; undefined: all of it. */
  async needsLog(): Promise<number | undefined> {
    if (this.#worker.kind !== 'standby') return this.#runner.needsLog;
    // What a rebuild elsewhere still needs is not to be seen from here: it holds everything.
    if ((await this.#ledger.get('rebuilds', this.name)) !== undefined) return undefined;
    return (await this.#sink.peek(this.name))?.log;
  }

  /** Throws LEASE_HELD if another process runs the flow. */
  async ask(request: FlowRequest): Promise<number> {
    if (this.#worker.kind === 'standby') throw runsElsewhere(`flow ${this.name}`);
    const answer = this.#runner.ask(request);
    // It stopped because a person is needed, and here is one: it starts again, and hears this first.
    if (this.#worker.kind === 'failed') this.#done = this.#supervise();
    return answer;
  }

  async status(): Promise<FlowStatus> {
    const behind = await this.#lane.log.extent().then(
      ({ next }) => Math.max(0, next - (this.#checkpoint?.log ?? 0)),
      () => this.#behind,
    );
    this.#behind = behind;
    return {
      flow: this.name,
      from: this.#definition.from,
      to: this.#definition.to,
      worker: this.#worker,
      state: this.#state,
      through: this.#checkpoint?.through,
      behind,
      ...this.#meter.measures(this.#clock.nowMs()),
    };
  }
}

function runsElsewhere(where: string): TallyError {
  return new TallyError('LEASE_HELD', {
    what: 'another process runs it',
    where,
    mend: 'ask that one',
  });
}

/** All captures and flows of an application, running in this process. */
export class Worker {
  readonly #lanes: readonly LaneWorker[];
  readonly #flows: readonly FlowWorker[];
  readonly #stopping = new AbortController();

  constructor(options: WorkerOptions) {
    const { signal } = this.#stopping;
    this.#lanes = [...options.lanes.values()].map((lane) => new LaneWorker(lane, options, signal));
    this.#flows = Object.entries(options.flows).flatMap(([name, definition]) => {
      const lane = options.lanes.get(definition.from);
      return lane === undefined ? [] : [new FlowWorker(name, definition, lane, options, signal)];
    });
  }

  flow(name: string): { ask(request: FlowRequest): Promise<number> } | undefined {
    return this.#flows.find((flow) => flow.name === name);
  }

  lane(name: string): { resnapshot(): Promise<number> } | undefined {
    return this.#lanes.find(({ lane }) => lane.name === name);
  }

  /** Whether this process runs the flow, rather than another. */
  runs(flow: string): boolean {
    return this.#flows.some(({ name, isHere }) => name === flow && isHere);
  }

  async status(): Promise<{
    readonly lanes: readonly LaneStatus[];
    readonly flows: readonly FlowStatus[];
  }> {
    const lanes = await Promise.all(this.#lanes.map((lane) => lane.status()));
    const flows = await Promise.all(this.#flows.map((flow) => flow.status()));
    return { lanes, flows };
  }

  /** Takes note of what other processes have changed. */
  async refresh(): Promise<void> {
    for (const lane of this.#lanes) await lane.refresh();
  }

  /** Lets the logs go of what every flow has applied. A flow without a checkpoint holds everything. */
  async release(): Promise<void> {
    for (const { lane } of this.#lanes) {
      const needs = await Promise.all(
        this.#flows.filter((flow) => flow.from === lane.name).map((flow) => flow.needsLog()),
      );
      if (needs.length === 0 || needs.some((need) => need === undefined)) continue;
      await lane.log.release(Math.min(...needs.map((need) => need ?? 0)));
    }
  }

  /** Ends every capture and flow at the next batch boundary. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#lanes, ...this.#flows].map(({ done }) => done));
  }
}
