import { encodeKey } from '../core/codec.ts';
import { errorText } from '../core/errors.ts';
import { armPoints } from '../observe/point.ts';
import type { Mutation } from './faulty-ports.ts';
import { Incarnation, request, type Plan } from './incarnation.ts';
import { storeOf, Violation } from './invariants.ts';
import { targets, type ModelChange, type TargetName } from './model.ts';
import { Workload } from './workload.ts';
import { calm, drawDreaded, drawWeather, type Weather } from './weather.ts';
import { running, World } from './world.ts';

/** What a schedule came to. */
export interface Outcome {
  readonly seed: number;
  /** What was broken first; undefined if every promise held. */
  readonly violation: Error | undefined;
  readonly events: readonly string[];
  readonly hits: ReadonlyMap<string, number>;
  /** Virtual milliseconds that passed. */
  readonly elapsedMs: number;
}

export interface ScheduleOptions {
  readonly seed: number;
  readonly mutation?: Mutation;
  readonly verbose?: (line: string) => void;
}

/** How long the coordinator may take, once the faults have stopped, to bring everything home. */
const QUIET_ROUNDS_MAX = 40;
const QUIET_ROUND_MS = 5_000;
const STOP_WITHIN_MS = 120_000;
/** Evidence that readers may still ask for. */
const EVIDENCE_KEPT = 12;

const flowNames = ['documents', 'tags', 'totals'] as const;
const targetNames = Object.keys(targets) as readonly TargetName[];

/** Runs the schedule of one seed: the same every time. Schedules run one after the other, never at once. */
export async function runSchedule(options: ScheduleOptions): Promise<Outcome> {
  const world = new World(options);
  const schedule = new Schedule(world, options.seed);
  try {
    await schedule.run();
  } catch (error) {
    world.broke(error instanceof Error ? error : new Error(errorText(error)));
  } finally {
    for (const incarnation of world.incarnations) incarnation.crash('the end');
    armPoints(undefined);
  }
  const { violation, events, hits } = world;
  return { seed: options.seed, violation, events, hits, elapsedMs: world.clock.elapsedMs };
}

interface Evidence {
  readonly epoch: number;
  readonly offset: number;
  readonly commit: number;
  readonly changes: readonly ModelChange[];
}

class Schedule {
  readonly #world: World;
  readonly #plan: Plan;
  readonly #workload: Workload;
  readonly #storm: Weather;
  readonly #workersMax: number;
  readonly #evidence: Evidence[] = [];
  /** What a person or the weather may do, with how likely it is. */
  readonly #actions: readonly (readonly [number, () => void])[];
  #histories = 0;
  /** Whether some history was lost: only then may a capture stop for good. */
  #lost = false;

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#workload = new Workload(world);
    this.#plan = {
      batchRows: world.pick([1, 2, 3, 5, 8, 50]) ?? 8,
      effect: world.chance(0.6) ? 'fenced' : 'transactional',
    };
    this.#workersMax = world.chance(0.5) ? 2 : 1;
    const dreaded = drawDreaded(seed);
    this.#storm = { ...drawWeather(world, this.#workersMax), dreaded };
    const rare = world.chance(0.3) ? 0.6 : 0;
    this.#actions = [
      [12, () => this.#do(this.#write())],
      [4, () => this.#ask()],
      [1.5, () => this.#victim()?.crash('will')],
      [3, () => this.#startWorker()],
      [world.chance(0.4) ? 1 : 0, () => this.#victim()?.suspend(world.between(2_000, 25_000))],
      [0.7, () => this.#stopWorker()],
      [world.chance(0.5) ? 2 : 0, () => this.#toggle(world.poison, this.#workload.id())],
      [world.chance(0.4) ? 1.5 : 0, () => this.#toggle(world.refused, this.#targetRow())],
      [
        // A rebuild that nobody asks for crashes nowhere.
        (world.chance(0.4) ? 1 : 0) + (dreaded?.startsWith('rebuild.') === true ? 4 : 0),
        () => this.#request('rebuild'),
      ],
      [world.chance(0.5) ? 1 : 0, () => this.#request('retry-parked')],
      [world.chance(0.3) ? rare : 0, () => this.#do(this.#resnapshot())],
      [world.chance(0.5) ? rare : 0, () => this.#loseHistory()],
      [world.chance(0.3) ? 1 : 0, () => this.#boundLog()],
      [world.chance(0.3) ? 0.7 : 0, () => this.#do(this.#truncate())],
      [world.chance(0.5) ? rare : 0, () => this.#failOver()],
    ];
  }

  async run(): Promise<void> {
    const world = this.#world;
    const { clock } = world;
    await world.application();
    if (world.chance(0.7)) await this.#during(this.#write());
    world.weather = this.#storm;
    if (world.chance(0.3)) this.#start(false);
    for (let steps = world.between(8, 40); steps > 0; steps -= 1) {
      if (this.#workers().length === 0 && world.chance(0.7)) this.#startWorker();
      this.#act();
      const pace = world.random.next();
      await clock.advance(
        pace < 0.3 ? 0 : pace < 0.8 ? world.between(1, 400) : world.between(400, 4_000),
      );
      this.#check();
    }
    await this.#quieten();
  }

  #act(): void {
    const total = this.#actions.reduce((sum, [weight]) => sum + weight, 0);
    let drawn = this.#world.random.next() * total;
    for (const [weight, action] of this.#actions) {
      drawn -= weight;
      if (drawn < 0) return action();
    }
  }

  #check(): void {
    if (this.#world.violation !== undefined) throw this.#world.violation;
  }

  /** Lets something go on by itself. */
  #do(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#world.event(`refused: ${errorText(error, 160)}`));
  }

  /** Lets virtual time pass until it is done. */
  async #during<Result>(work: Promise<Result>, limitMs = STOP_WITHIN_MS): Promise<Result> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    work.then(end, end);
    if (!(await this.#world.clock.runUntil(() => over, limitMs)))
      throw new Violation('what is asked ends', `it did not in ${limitMs} virtual ms`);
    return work;
  }

  #workers(): readonly Incarnation[] {
    return this.#world.incarnations.filter(
      ({ dead, owner }) => !dead && owner.startsWith('worker'),
    );
  }

  #victim(): Incarnation | undefined {
    return this.#world.pick(this.#workers());
  }

  #startWorker(): void {
    if (this.#workers().length < this.#workersMax) this.#start(true);
  }

  #start(run: boolean): void {
    const incarnation = new Incarnation(this.#world, this.#plan, { run });
    this.#do(incarnation.start());
  }

  #stopWorker(): void {
    const victim = this.#victim();
    if (victim === undefined) return;
    this.#world.hit('stopped');
    this.#do(victim.stop());
  }

  async #write(): Promise<void> {
    const world = this.#world;
    const kind = world.random.next();
    const size = kind < 0.5 ? 1 : kind < 0.9 ? world.between(2, 5) : world.between(10, 30);
    const changes = this.#workload.transaction(size);
    const { offset, commit } = await world.write(changes);
    world.event(`commit ${commit} at ${offset}: ${changes.map(shown).join(', ')}`);
    const { epoch } = world.invariants;
    if (epoch === undefined) return;
    this.#evidence.push({ epoch, offset, commit, changes });
    if (this.#evidence.length > EVIDENCE_KEPT) this.#evidence.shift();
  }

  /** A reader waits for evidence, and looks whether `fresh` was true. */
  #ask(): void {
    const world = this.#world;
    const evidence = world.pick(this.#evidence);
    const reader = world.pick(
      world.incarnations.filter(
        ({ app, dead, suspended }) => app !== undefined && !dead && !suspended,
      ),
    );
    if (evidence === undefined || reader?.app === undefined) return;
    const { app } = reader;
    const store = world.pick(['search', 'views'] as const) ?? 'search';
    const item = evidence.changes.find(({ table }) => table === 'items');
    const keyed = store === 'search' && item !== undefined && world.chance(0.4);
    const { epoch, offset, commit } = evidence;
    this.#do(
      running
        .run(reader, () =>
          app.barrier(store, {
            after: new Map([['orders', [{ epoch, offset }]]]),
            within: world.pick([0, 100, 400]) ?? 0,
            ...(keyed ? { keys: [{ table: 'items', key: JSON.parse(item.key) as string[] }] } : {}),
          }),
        )
        .then(({ kind }) => {
          world.hit(`barrier ${kind}`);
          world.event(`${reader.owner} ${store} at commit ${commit} (${epoch}.${offset}): ${kind}`);
          if (kind === 'fresh') this.#trueFreshness(store, commit, keyed ? item.key : undefined);
          return kind;
        }),
    );
  }

  #trueFreshness(store: string, commit: number, item: string | undefined): void {
    const { invariants } = this.#world;
    try {
      for (const target of targetNames)
        if (storeOf[target] === store)
          invariants.covers(target, commit, 'what is called fresh is fresh', {
            parkedToo: true,
            ...(item === undefined ? {} : { item }),
          });
    } catch (error) {
      this.#world.broke(error as Error);
    }
  }

  #toggle(set: Set<string>, what: string): void {
    if (set.delete(what)) this.#world.event(`${what} is corrected`);
    else {
      set.add(what);
      this.#world.hit('poisoned');
      this.#world.event(`${what} is poison from now on`);
    }
  }

  #targetRow(): string {
    const id = `i${this.#world.between(1, 9)}`;
    return this.#world.chance(0.6)
      ? `documents ${encodeKey([id])}`
      : `totals ${encodeKey([this.#world.pick(['north', 'south']) ?? 'north'])}`;
  }

  #request(kind: 'rebuild' | 'retry-parked'): void {
    this.#world.hit(`asked ${kind}`);
    const flow = this.#world.pick(flowNames) ?? 'documents';
    this.#do(
      request(this.#world, {
        of: 'flow',
        flow,
        request: kind === 'rebuild' ? { kind } : { kind, unit: undefined },
      }),
    );
  }

  async #resnapshot(): Promise<void> {
    this.#world.hit('asked resnapshot');
    await request(this.#world, { of: 'lane', lane: 'orders', request: 'resnapshot' });
  }

  /** The source comes back as another one: what was not acknowledged is gone, and rows have changed unseen. */
  #loseHistory(): void {
    const world = this.#world;
    const { source } = world.states.orders;
    if (source.history === '') return;
    world.hit('history lost');
    this.#lost = true;
    for (const incarnation of world.incarnations) incarnation.crash('the loss of its source');
    this.#histories += 1;
    source.history = `history-${this.#histories}`;
    source.forks = [];
    source.transactions = [];
    source.prunedTo = source.head;
    const changes = this.#workload.transaction(world.between(1, 3));
    for (const { table, key, after } of changes) {
      const rows = source.tables.get(table)?.rows;
      if (after === null) rows?.delete(key);
      else rows?.set(key, after);
    }
    world.model.commit(source.history, source.head, changes);
    world.event(`the source is now ${source.history}: ${changes.map(shown).join(', ')}`);
  }

  /** All rows of a table go at once, and the source cannot say which they were. */
  async #truncate(): Promise<void> {
    const world = this.#world;
    const table = world.pick(['items', 'lines'] as const) ?? 'items';
    const { offset, changes } = await world.truncate(table);
    world.hit('truncated');
    world.event(`commit ${world.model.commits} at ${offset}: ${table} truncated`);
    const { epoch } = world.invariants;
    if (epoch !== undefined)
      this.#evidence.push({ epoch, offset, commit: world.model.commits, changes });
  }

  /** A standby that has everything takes the place of the source: another history, of which nothing is lost. */
  #failOver(): void {
    const world = this.#world;
    const { source } = world.states.orders;
    if (source.history === '') return;
    world.hit('failed over');
    for (const incarnation of world.incarnations) incarnation.crash('the failover of its source');
    this.#histories += 1;
    // A log that holds no commit yet proves nothing.
    this.#lost = true;
    const { history: from, head: upTo } = source;
    source.forks = [...source.forks, { from, upTo }];
    source.history = `history-${this.#histories}`;
    world.model.fork(source.history, from, upTo);
    world.event(`the source is now ${source.history}, from ${upTo} on`);
  }

  #boundLog(): void {
    const world = this.#world;
    world.logBytesMax =
      world.logBytesMax === Infinity ? world.states.log.log.bytes + 200 : Infinity;
    world.event(`the log holds ${world.logBytesMax} bytes from now on`);
  }

  /** The faults have stopped: everything has to come home, whoever is left. */
  async #quieten(): Promise<void> {
    const world = this.#world;
    world.event('the faults stop');
    world.weather = calm;
    world.logBytesMax = Infinity;
    world.poison.clear();
    world.refused.clear();
    if (world.chance(0.4)) for (const worker of this.#workers()) worker.crash('the last fault');
    for (let round = 0; round < QUIET_ROUNDS_MAX; round += 1) {
      if (this.#workers().length === 0) this.#start(true);
      await world.clock.advance(QUIET_ROUND_MS);
      this.#check();
      if (this.#home()) break;
      if (round % 3 === 2) await this.#nudge();
    }
    if (!this.#home())
      throw new Violation('in the end everything is carried', await this.#plight());
    world.invariants.converged();
    await this.#finalReads();
    await Promise.all(this.#workers().map((worker) => this.#during(worker.stop())));
    this.#check();
    world.invariants.converged();
  }

  /** A person looks, and retries what is parked. */
  async #nudge(): Promise<void> {
    const world = this.#world;
    for (const target of targetNames)
      if (world.invariants.parked(target) > 0)
        await request(world, {
          of: 'flow',
          flow: targets[target].flow,
          request: { kind: 'retry-parked', unit: undefined },
        });
    const statuses = await this.#statuses();
    if (this.#lost && statuses.some((status) => status.includes('HISTORY_LOST'))) {
      await this.#resnapshot();
    }
  }

  async #statuses(): Promise<readonly string[]> {
    const texts: string[] = [];
    for (const worker of this.#workers()) {
      const { app } = worker;
      if (app === undefined || worker.suspended) continue;
      const { lanes, flows } = await this.#during(running.run(worker, () => app.status()));
      for (const lane of lanes)
        texts.push(`${worker.owner} capture ${JSON.stringify(lane.worker)}`);
      for (const flow of flows)
        texts.push(`${worker.owner} ${flow.flow} ${flow.state} ${JSON.stringify(flow.worker)}`);
    }
    return texts;
  }

  #home(): boolean {
    const { invariants, states } = this.#world;
    const { head } = states.orders.source;
    const { spaces } = states.ledger.ledger;
    return (
      (spaces.get('rebuilds')?.size ?? 0) === 0 &&
      (spaces.get('requests')?.size ?? 0) === 0 &&
      targetNames.every((target) => {
        const through = invariants.through(target);
        const here = through !== undefined && through.epoch === invariants.epoch;
        return here && through.offset >= head && invariants.parked(target) === 0;
      })
    );
  }

  async #plight(): Promise<string> {
    const { invariants, states } = this.#world;
    const places = targetNames.map((target) => {
      const { epoch, offset } = invariants.through(target) ?? {};
      return `${target} at ${epoch}.${offset} with ${invariants.parked(target)} parked`;
    });
    const { spaces } = states.ledger.ledger;
    const asked = [...(spaces.get('requests')?.values() ?? [])].map(({ value }) => value);
    const rebuilds = [...(spaces.get('rebuilds')?.values() ?? [])].map(({ key }) => key);
    return [
      `head ${invariants.epoch}.${states.orders.source.head}`,
      ...places,
      ...(await this.#statuses()),
      ...asked,
      ...rebuilds.map((flow) => `rebuild of ${flow}`),
    ].join('; ');
  }

  /** Whoever runs a flow has to call the head fresh, now that it is. */
  async #finalReads(): Promise<void> {
    const { invariants, states } = this.#world;
    const { head } = states.orders.source;
    const { epoch } = invariants;
    if (epoch === undefined || head === 0) return;
    for (const store of ['search', 'views'] as const) {
      const kinds: string[] = [];
      for (const worker of this.#workers()) {
        const { app } = worker;
        if (app === undefined || worker.suspended) continue;
        const after = new Map([['orders', [{ epoch, offset: head }]]]);
        const barrier = running.run(worker, () => app.barrier(store, { after, within: '5s' }));
        kinds.push((await this.#during(barrier)).kind);
      }
      if (kinds.length > 0 && this.#workersMax === 1 && !kinds.includes('fresh'))
        throw new Violation('what is fresh is called fresh', `${store}: ${kinds.join(', ')}`);
    }
  }
}

function shown({ table, key, after }: ModelChange): string {
  return `${table} ${key} ${after ?? 'deleted'}`;
}
