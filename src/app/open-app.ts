import { TallyError } from '../core/errors.ts';
import { mergeEvidence, noEvidence, type Evidence } from '../core/evidence.ts';
import { checkNumber, checkOptions } from '../core/options.ts';
import { OFFSET_MAX } from '../core/position.ts';
import type { Freshness } from '../flow/barrier.ts';
import { ProgressBoard, progressEvidence } from '../flow/progress.ts';
import { SagaEngine } from '../patterns/saga/index.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Store } from '../ports/store.ts';
import { addEvidence } from '../runtime/context.ts';
import { lanesOf } from './caches.ts';
import type {
  ClientOf,
  Opened,
  OpenedCaches,
  OpenedStores,
  Stores,
  TallyApp,
  TxOf,
} from './definition.ts';
import { freshnessError, freshnessOf, type FreshnessOptions } from './freshness.ts';
import { laneEvidence, refreshEpoch, type FlowEnds, type Lane } from './lanes.ts';
import { Maintenance } from './maintenance.ts';
import { RemoteProgress } from './remote-progress.ts';
import type { AppStatus } from './status.ts';
import { Worker } from './worker.ts';

/** The result of a write, and what it left behind. */
export interface Written<Result> {
  readonly value: Result;
  readonly evidence: Evidence;
}

/** How fresh a read must be, and what to do if it is not. */
export interface ReadOptions<Result> extends FreshnessOptions {
  /** If it is not fresh in time: read all the same, fail, or do something else. Default `'fail'`. */
  readonly otherwise?: 'stale' | 'fail' | ((freshness: Freshness) => Result | Promise<Result>);
}

/** The result of a read, and how fresh it is. */
export interface Read<Result> {
  readonly value: Result;
  readonly freshness: Freshness;
}

export interface OpenAppParts {
  readonly app: TallyApp;
  readonly stores: Readonly<Record<string, Store>>;
  readonly caches: OpenedCaches;
  readonly ends: FlowEnds;
  readonly lanes: ReadonlyMap<string, Lane>;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: Random;
  readonly owner: string;
  readonly isDead: (owner: string) => boolean;
  readonly run: boolean;
}

const barrierOptionNames = ['after', 'maxStale', 'within', 'keys', 'signal'] as const;
const readOptionNames = [...barrierOptionNames, 'otherwise'] as const;

/** An open application: its stores, its writes with evidence, its reads that can wait for it. */
export class OpenApp<
  Declared extends Stores = Stores,
  Kept extends OpenedCaches = OpenedCaches,
> implements AsyncDisposable {
  readonly stores: OpenedStores<Declared>;
  /** As they were declared; closed with the application. */
  readonly caches: Kept;
  readonly ledger: Ledger;
  /** Starts sagas, waits for their outcomes, sends them signals; a process that runs the flows runs them too. */
  readonly sagas: SagaEngine;
  readonly #parts: OpenAppParts;
  readonly #board = new ProgressBoard();
  readonly #worker: Worker | undefined;
  readonly #maintenance: Maintenance | undefined;
  readonly #remote: RemoteProgress;
  readonly #startedAtMs: number;
  /** By lane, the newest commit of a write made here. */
  readonly #written = new Map<string, Evidence>();
  #closed: Promise<void> | undefined;

  constructor(parts: OpenAppParts) {
    this.#parts = parts;
    this.stores = parts.stores as OpenApp<Declared>['stores'];
    this.caches = parts.caches as Kept;
    this.ledger = parts.ledger;
    this.#startedAtMs = parts.clock.nowMs();
    if (parts.run) {
      this.#worker = new Worker({ ...parts, flows: parts.app.flows, board: this.#board });
      this.#maintenance = new Maintenance({
        ...parts,
        worker: this.#worker,
        status: () => this.status(),
      });
    }
    const { sagas } = parts.app;
    const hasSagas = sagas.definitions.length > 0 || sagas.schedules !== undefined;
    this.sagas = new SagaEngine({ ...sagas, ...parts, run: parts.run && hasSagas });
    this.#remote = new RemoteProgress({
      ...parts,
      flows: parts.app.flows,
      board: this.#board,
      isElsewhere: (flow) => this.#worker?.runs(flow) !== true,
    });
    for (const [name, cache] of Object.entries(parts.caches)) {
      const lanes = lanesOf(parts.app, name);
      if (lanes.size > 0) cache.feed.follow((after) => this.#hasTold(name, lanes, after));
    }
  }

  /**
   * Runs a transaction in the store that owns the facts. The evidence is taken by the store after the
   * commit and added to the present context, if there is one. Throws what `work` throws, after a rollback.
   */
  async write<Name extends keyof Declared & string, Result>(
    store: Name,
    work: (tx: TxOf<Declared[Name]>) => Result | Promise<Result>,
  ): Promise<Written<Result>> {
    const source = this.#sourceOf(store);
    const { value, offset, history } = await source.write((tx) => work(tx as TxOf<Declared[Name]>));
    return { value, evidence: await this.#leftBehind(store, offset, history) };
  }

  /**
   * The evidence of a place in a store's own history that its source has told, such as what `source.resolve` of a
   * PostgreSQL store answers for a transaction that an ORM ran. Added to the present context, as that of {@link write}
   * is. Throws CAPABILITY_MISSING, and what the store cannot be reached with.
   */
  async evidenceAt(store: keyof Declared & string, offset: number): Promise<Evidence> {
    checkNumber(offset, 'evidenceAt.offset', { min: 0, max: OFFSET_MAX, integer: true });
    const source = this.#sourceOf(store);
    // Without a lane nothing is captured, and there is no history to ask for.
    const isCaptured = this.#parts.lanes.has(store);
    if (!isCaptured) return this.#leftBehind(store, offset, undefined);
    // The name of a history alone does not tell a server whose files were put back.
    const now = (await source.headInHistory?.()) ?? { history: await source.history() };
    return this.#leftBehind(store, offset, now.history);
  }

  async #leftBehind(store: string, offset: number, history: string | undefined): Promise<Evidence> {
    const lane = this.#parts.lanes.get(store);
    // A process that runs no captures is not told of another history by one: the ledger knows.
    if (lane !== undefined && history !== undefined && !this.#parts.run)
      if (history !== lane.epoch.history || lane.epoch.epoch === 0)
        await refreshEpoch(lane, this.#parts.ledger).catch(() => undefined);
    // A store that no flow reads from has no lane: there is nothing that could wait for its evidence.
    const evidence = lane === undefined ? noEvidence : laneEvidence(lane, offset, history);
    this.#note(store, evidence);
    addEvidence(evidence);
    return evidence;
  }

  #sourceOf(store: string): NonNullable<Store['source']> {
    const source = this.#store(store).source;
    if (source !== undefined) return source;
    throw new TallyError('CAPABILITY_MISSING', {
      what: `store ${store} has no transactions of its own to capture`,
      mend: 'write to the store that owns the fact',
    });
  }

  /** Only of the present epoch: a long life with several of them would be more than evidence may hold. */
  #note(store: string, evidence: Evidence): void {
    const before = this.#written.get(store) ?? noEvidence;
    const sameEpoch = before.get(store)?.at(-1)?.epoch === evidence.get(store)?.at(-1)?.epoch;
    this.#written.set(store, sameEpoch ? mergeEvidence(before, evidence) : evidence);
  }

  /**
   * The furthest position of each lane that this process knows of: of writes made here, and of what its
   * flows have applied. For `heads` of tallystick/http, which passes nothing on above it.
   */
  heads(): Evidence {
    const { lanes, app } = this.#parts;
    const starts = Array.from(lanes.values(), (lane) => laneEvidence(lane, 0));
    const applied = Object.keys(app.flows).map((flow) => {
      const progress = this.#board.get(flow);
      return progress === undefined ? noEvidence : progressEvidence(progress);
    });
    return mergeEvidence(...starts, ...applied, ...this.#written.values());
  }

  /**
   * Reads from a store with its native client, once it is fresh enough. Throws BARRIER_TIMEOUT,
   * BARRIER_BLOCKED, BARRIER_INCOMPARABLE or CAPABILITY_MISSING if it is not and `otherwise` is `'fail'`.
   */
  async read<Name extends keyof Declared & string, Result>(
    store: Name,
    options: ReadOptions<Result>,
    work: (
      client: ClientOf<Declared[Name]>,
      store: Opened<Declared[Name]>,
    ) => Result | Promise<Result>,
  ): Promise<Read<Result>> {
    checkOptions(options, readOptionNames, 'read');
    const open = this.#store(store);
    const freshness = await this.#freshness(store, options);
    const otherwise = options.otherwise ?? 'fail';
    if (freshness.kind !== 'fresh') {
      if (otherwise === 'fail') throw freshnessError(store, freshness);
      if (otherwise !== 'stale') return { value: await otherwise(freshness), freshness };
    }
    return {
      value: await work(open.client as ClientOf<Declared[Name]>, open as Opened<Declared[Name]>),
      freshness,
    };
  }

  /**
   * Waits until a store is as fresh as asked, or a cache was told of all of it, within the limit; see {@link Freshness} for
   * the answers.
   */
  async barrier(
    store: (keyof Declared | keyof Kept) & string,
    options: FreshnessOptions,
  ): Promise<Freshness> {
    checkOptions(options, barrierOptionNames, 'barrier');
    if (this.#parts.ends[store] === undefined) this.#store(store);
    return this.#freshness(store, options);
  }

  /** Of a lane that no flow brings nothing is ever told. */
  async #hasTold(cache: string, lanes: ReadonlySet<string>, after: Evidence): Promise<boolean> {
    if (![...after.keys()].every((lane) => lanes.has(lane))) return false;
    return (await this.#freshness(cache, { after, within: 0 })).kind === 'fresh';
  }

  #freshness(store: string, options: FreshnessOptions): Promise<Freshness> {
    const { app, stores, lanes, clock } = this.#parts;
    return freshnessOf(store, options, {
      app,
      stores,
      lanes,
      clock,
      board: this.#board,
      remote: this.#remote,
    });
  }

  /** How every boundary stands; in a process that does not run the flows, as their worker last said. */
  async status(): Promise<AppStatus> {
    const { app, owner, clock } = this.#parts;
    const running = (await this.#worker?.status()) ?? { lanes: [], flows: [] };
    return {
      app: app.name,
      owner,
      atMs: clock.nowMs(),
      startedAtMs: this.#startedAtMs,
      ...running,
    };
  }

  /** Stops the flows at their next batch boundary and closes everything. Idempotent. */
  async close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    // Steps may write to the stores and wait for what the flows apply.
    await this.sagas.close();
    await this.#maintenance?.stop();
    await this.#worker?.stop();
    for (const cache of Object.values(this.#parts.caches)) await cache.close();
    for (const lane of this.#parts.lanes.values()) await lane.log.close();
    await this.#parts.ledger.close();
    for (const store of Object.values(this.#parts.stores)) await store.close();
  }

  #store(name: string): Store {
    const store = this.#parts.stores[name];
    if (store === undefined)
      throw new TallyError('CONFIG_INVALID', {
        what: `there is no store named ${JSON.stringify(name)}`,
        mend: `use one of ${Object.keys(this.#parts.stores).join(', ')}`,
      });
    return store;
  }
}
