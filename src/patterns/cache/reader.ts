import { unreachable } from '../../core/errors.ts';
import { coversEvidence, noEvidence, type Evidence } from '../../core/evidence.ts';
import type { CacheAnswer, LeaseAnswer } from '../../ports/cache.ts';
import { checkCacheKeys } from '../../ports/cache-checks.ts';
import {
  failedLately,
  isRefreshing,
  isUnreachable,
  loadedNow,
  staleEntry,
  staleOf,
  type StaleValue,
} from './answers.ts';
import { Asks } from './asks.ts';
import type { Core, ReadEntry } from './core.ts';
import type { StaleBecause } from './events.ts';
import { Filler, type LoadOutcome } from './filler.ts';
import { Flight, toldOf, type CacheRead, type Outcome } from './flights.ts';
import type { Copy } from './near.ts';
import type { Pending } from './pending.ts';
import { Questions } from './questions.ts';

/** How often a reader whose key is changed while it is loaded asks again, before it loads for itself. */
const AGAIN_MAX = 5;
/** The end of one entry, as two questions at different times tell it, differs by no more: the next value ends later. */
const CLOCKS_APART_MS = 5;

/** Reads: copy, shared tier, loader, in that order, and once for all who ask at the same time. */
export class Reader<Key, Value> {
  readonly #core: Core<Key, Value>;
  readonly #pending: Pending;
  readonly #filler: Filler<Key, Value>;
  readonly #tier: Questions<Key, Value>;
  readonly #asks: Asks;

  constructor(core: Core<Key, Value>, filler: Filler<Key, Value>, pending: Pending) {
    this.#core = core;
    this.#pending = pending;
    this.#filler = filler;
    this.#tier = new Questions(core);
    this.#asks = new Asks((names) => this.#tier.getMany(names));
  }

  get(name: string, key: Key): Promise<Value | undefined> {
    const { near, meter } = this.#core;
    const copy = near?.get(name);
    if (copy !== undefined && this.#core.nowMs() < copy.quietUntilMs) {
      meter.near += 1;
      copy.isUsed = true;
      return copy.answer;
    }
    return this.read(name, key).then(({ value }) => value);
  }

  read(name: string, key: Key): Promise<CacheRead<Value>> {
    const copy = this.#core.near?.get(name);
    if (copy !== undefined) {
      const answer = this.#fromCopy(name, key, copy);
      if (answer !== undefined) return Promise.resolve(answer);
    }
    return this.#join(name, key);
  }

  /** One round trip for all that has no copy here; what is not found there goes the way of a single key. */
  async getMany(
    wanted: readonly { readonly name: string; readonly key: Key }[],
  ): Promise<readonly (Value | undefined)[]> {
    const { near, meter } = this.#core;
    const found = new Map<string, Value | undefined>();
    const missing = new Map<string, Key>();
    const nowMs = this.#core.nowMs();
    for (const { name, key } of wanted) {
      const copy = near?.get(name);
      if (copy === undefined || nowMs >= copy.quietUntilMs) missing.set(name, key);
      else {
        meter.near += 1;
        copy.isUsed = true;
        found.set(name, copy.value);
      }
    }
    if (missing.size > 0) await this.#findMany(missing, found);
    return wanted.map(({ name }) => found.get(name));
  }

  /** Never answers what does not contain the evidence. */
  async readAfter(name: string, key: Key, after: Evidence): Promise<CacheRead<Value>> {
    checkCacheKeys('key', [name], this.#core.tier.supports.keyBytesMax);
    const copy = this.#core.near?.get(name);
    if (copy !== undefined && coversEvidence(copy.asOf, after) === 'covered') {
      const answer = this.#fromCopy(name, key, copy);
      if (answer !== undefined) return answer;
    }
    for (let attempt = 0; attempt < AGAIN_MAX && !this.#pending.has(name); attempt += 1) {
      // Before the tier is asked: what is there after everything up to the evidence was told is not older than that.
      const isTold = await this.#isTold(after);
      const askedAtMs = this.#core.nowMs();
      const answer = await this.#tier.ask(name, attempt === 0 ? 'due' : 'always');
      if (answer === undefined) break;
      const read = this.#core.read(name, answer.entry);
      const covers =
        read !== undefined && (isTold || coversEvidence(read.asOf, after) === 'covered');
      if (covers && read.entry.freshForMs > 0) {
        if (answer.lease.kind === 'granted')
          this.#refresh(name, key, answer.lease.lease, read.value);
        this.#core.keep(name, read, askedAtMs);
        return this.#hit(read);
      }
      const { lease } = answer;
      if (lease.kind === 'granted') return this.#loadAfter(name, key, after, lease.lease);
      if (lease.kind === 'held') await this.#tier.wait(name, lease.lease);
      else if (lease.kind !== 'none') break;
    }
    return this.#loadAfter(name, key, after, undefined);
  }

  /** A flow that cannot say how far it is has told nothing: the value is loaded. */
  async #isTold(after: Evidence): Promise<boolean> {
    const { hasTold } = this.#core;
    return hasTold === undefined ? false : await hasTold(after).catch(() => false);
  }

  /** Loads a key for which a lease is held here, for nobody in particular. */
  fill(name: string, key: Key, lease: string): Promise<LoadOutcome<Value>> {
    const flight = new Flight<Key, Value>(name, key);
    return this.#core.flights.behind(flight, () => this.#load(flight, lease, undefined));
  }

  async #loadAfter(
    name: string,
    key: Key,
    after: Evidence,
    lease: string | undefined,
  ): Promise<CacheRead<Value>> {
    this.#core.meter.misses += 1;
    const flight = new Flight<Key, Value>(name, key);
    flight.phase = 'loading';
    this.#core.flights.add(flight);
    const work = this.#filler
      .load({ name, key, lease, stale: undefined, after, ...toldOf(flight) })
      .then((outcome): Outcome<Value> => loadedNow(outcome));
    flight.outcome = work;
    try {
      return await work;
    } finally {
      this.#core.flights.remove(flight);
    }
  }

  async #join(name: string, key: Key): Promise<CacheRead<Value>> {
    const { flights, tier } = this.#core;
    // Here, since a key that the tier refuses would fail all that are asked for in one turn.
    checkCacheKeys('key', [name], tier.supports.keyBytesMax);
    for (let attempt = 0; attempt < AGAIN_MAX; attempt += 1) {
      const flight = flights.find(name);
      if (flight?.outcome === undefined) {
        const own = new Flight<Key, Value>(name, key);
        return this.#start(own, () => this.#fly(own));
      }
      const wasLoading = flight.phase === 'loading' || flight.phase === 'storing';
      const outcome = await flight.outcome;
      // The load began before this caller asked, and the key was changed before it ended: it may have been changed before
      // this caller asked as well.
      if (!wasLoading || !outcome.isVoided) return outcome;
    }
    this.#core.meter.misses += 1;
    return loadedNow(await this.#load(new Flight<Key, Value>(name, key), undefined, undefined));
  }

  async #start(
    flight: Flight<Key, Value>,
    fly: () => Promise<Outcome<Value>>,
  ): Promise<Outcome<Value>> {
    const { flights } = this.#core;
    flights.add(flight);
    flight.outcome = fly();
    try {
      return await flight.outcome;
    } finally {
      flights.remove(flight);
    }
  }

  async #fly(flight: Flight<Key, Value>): Promise<Outcome<Value>> {
    if (this.#pending.has(flight.name)) return this.#without(flight);
    flight.phase = 'queued';
    let askedAtMs = 0;
    let answer: CacheAnswer;
    try {
      answer = await this.#asks.ask(flight.name, () => {
        flight.phase = 'asking';
        askedAtMs = this.#core.nowMs();
      });
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      return this.#without(flight);
    }
    return this.#settle(flight, answer, askedAtMs);
  }

  /** What becomes of a key, after the tier has said what it has and who loads. */
  async #settle(
    flight: Flight<Key, Value>,
    { entry, lease }: CacheAnswer,
    askedAtMs: number,
  ): Promise<Outcome<Value>> {
    const { name, key } = flight;
    const read = this.#core.read(name, entry);
    if (read !== undefined && read.entry.freshForMs > 0) {
      if (!flight.isDirty) this.#core.keep(name, read, askedAtMs);
      if (lease.kind === 'granted') {
        this.#core.meter.early += 1;
        this.#refresh(name, key, lease.lease, read.value);
      } else this.#ahead(name, key, read);
      return this.#hit(read);
    }
    const { stale: policy, graceMs } = this.#core.settings;
    // What was expired before its time is still there, and without a grace nobody is to be answered it.
    const stale =
      graceMs === 0 ? undefined : read === undefined ? this.#staleCopy(name) : staleEntry(read);
    if (stale !== undefined && policy === 'refresh' && isRefreshing(lease)) {
      if (lease.kind === 'granted') this.#refresh(name, key, lease.lease, stale.value);
      return this.#stale(name, stale, 'refreshing');
    }
    return this.#miss(flight, lease, stale, read === undefined && entry !== undefined);
  }

  async #miss(
    flight: Flight<Key, Value>,
    lease: LeaseAnswer,
    stale: StaleValue<Value> | undefined,
    isUnreadable: boolean,
  ): Promise<Outcome<Value>> {
    const { meter } = this.#core;
    switch (lease.kind) {
      case 'granted':
        meter.misses += 1;
        return this.#loadOrStale(flight, lease.lease, stale);
      case 'held':
        meter.heldBack += 1;
        flight.phase = 'waiting';
        return (await this.#tier.wait(flight.name, lease.lease))
          ? this.#fly(flight)
          : this.#without(flight);
      case 'failed':
        if (stale !== undefined && this.#core.settings.loads.otherwise === 'stale')
          return this.#stale(flight.name, stale, 'load-failed-lately');
        throw failedLately(flight.name, this.#core.settings.name, lease);
      case 'barred':
        meter.misses += 1;
        return this.#loadOrStale(flight, undefined, stale);
      case 'none':
        meter.misses += 1;
        // There is a fresh entry that cannot be read: it is replaced by whoever gets the lease.
        return this.#loadOrStale(
          flight,
          isUnreadable ? await this.#tier.leaseAnyhow(flight.name) : undefined,
          stale,
        );
      default:
        return unreachable(lease);
    }
  }

  async #findMany(
    missing: ReadonlyMap<string, Key>,
    found: Map<string, Value | undefined>,
  ): Promise<void> {
    const names = [...missing.keys()];
    checkCacheKeys('key', names, this.#core.tier.supports.keyBytesMax);
    const askedAtMs = this.#core.nowMs();
    const { changes } = this.#core;
    let answers: readonly CacheAnswer[] = [];
    if (!names.some((name) => this.#pending.has(name)))
      try {
        answers = await this.#tier.getMany(names);
      } catch (error) {
        if (!isUnreachable(error)) throw error;
      }
    const others: Promise<unknown>[] = [];
    for (const [index, [name, key]] of [...missing].entries()) {
      const answer = answers[index];
      const read = this.#core.read(name, answer?.entry);
      if (answer?.lease.kind === 'none' && read !== undefined && read.entry.freshForMs > 0) {
        if (this.#core.changes === changes) this.#core.keep(name, read, askedAtMs);
        this.#hit(read);
        found.set(name, read.value);
        continue;
      }
      const flight = new Flight<Key, Value>(name, key);
      const one =
        answer === undefined
          ? this.#join(name, key)
          : this.#start(flight, () => this.#settle(flight, answer, askedAtMs));
      others.push(one.then(({ value }) => found.set(name, value)));
    }
    await Promise.all(others);
  }

  /** Without the tier: the loader, so many at a time. What it answers is kept nowhere. */
  async #without(flight: Flight<Key, Value>): Promise<Outcome<Value>> {
    const { meter } = this.#core;
    meter.bypassed += 1;
    meter.misses += 1;
    const outcome = await this.#loadOrStale(flight, undefined, this.#staleCopy(flight.name));
    // Who joined takes it as it is: while the tier is away nobody can be told of a change, and asking again is another load.
    return { ...outcome, isVoided: false };
  }

  async #loadOrStale(
    flight: Flight<Key, Value>,
    lease: string | undefined,
    stale: StaleValue<Value> | undefined,
  ): Promise<Outcome<Value>> {
    let outcome: LoadOutcome<Value>;
    try {
      outcome = await this.#load(flight, lease, stale?.value);
    } catch (error) {
      if (stale === undefined || this.#core.settings.loads.otherwise === 'fail') throw error;
      return this.#stale(flight.name, stale, 'load-failed');
    }
    if (outcome.stored !== 'older') return loadedNow(outcome);
    // The loader read a place that lags. Somebody may have stored what is newer; if not, it is said that this is old.
    const newer = this.#core.read(flight.name, (await this.#tier.ask(flight.name, 'none'))?.entry);
    if (newer !== undefined && newer.entry.freshForMs > 0) return this.#hit(newer);
    const behind = { value: outcome.value, ageMs: 0, from: 'load' } as const;
    return { ...this.#stale(flight.name, behind, 'source-behind'), isVoided: true };
  }

  #load(
    flight: Flight<Key, Value>,
    lease: string | undefined,
    stale: Value | undefined,
  ): Promise<LoadOutcome<Value>> {
    flight.phase = 'loading';
    const { name, key } = flight;
    // Without a lease nothing tells of a change meanwhile: who joined asks again.
    return this.#filler.load({
      name,
      key,
      lease,
      stale,
      after: noEvidence,
      ...toldOf(flight),
    });
  }

  /** Loads behind the back of readers who have an answer already. A failure is an event, and nobody's error. */
  #refresh(name: string, key: Key, lease: string, stale: Value | undefined): void {
    const flight = new Flight<Key, Value>(name, key);
    const work = (): Promise<unknown> => this.#load(flight, lease, stale);
    void this.#core.flights.behind(flight, work).catch(() => undefined);
  }

  /** Refresh-ahead: past its agreed part of the time, the first reader has it loaded anew. */
  #ahead(name: string, key: Key, { entry, value }: ReadEntry<Value>): void {
    const { ahead } = this.#core.settings;
    if (ahead === 0 || entry.freshForMs > (1 - ahead) * (entry.ageMs + entry.freshForMs)) return;
    const renew = async (): Promise<void> => {
      const lease = await this.#tier.leaseAnyhow(name);
      if (lease === undefined) return;
      this.#core.meter.early += 1;
      this.#refresh(name, key, lease, value);
    };
    void renew().catch(() => undefined);
  }

  #fromCopy(name: string, key: Key, copy: Copy<Value>): CacheRead<Value> | undefined {
    const { meter, hasShared, settings } = this.#core;
    const nowMs = this.#core.nowMs();
    if (nowMs < copy.freshUntilMs) {
      meter.near += 1;
      copy.isUsed = true;
      const leftMs = copy.endsMs - nowMs;
      const { ahead } = settings;
      const wholeMs = copy.endsMs - copy.storedAtMs;
      const isAhead = ahead > 0 && leftMs < (1 - ahead) * wholeMs;
      if (isAhead || leftMs < this.#tier.early() * copy.loadMs) this.#lookAgain(name, key, copy);
      return { value: copy.value, from: 'near', ageMs: nowMs - copy.storedAtMs, stale: undefined };
    }
    // With a shared tier it is asked first: somebody may have loaded the next value long ago.
    if (hasShared || settings.stale !== 'refresh' || nowMs >= copy.keptUntilMs) return undefined;
    if (settings.graceMs === 0) return undefined;
    this.#lookAgain(name, key, copy);
    return this.#stale(name, staleOf(copy, nowMs), 'refreshing');
  }

  /** Has a copy renewed that is due, if nobody has done so elsewhere. */
  #lookAgain(name: string, key: Key, copy: Copy<Value>): void {
    if (this.#core.flights.find(name) !== undefined || this.#pending.has(name)) return;
    const flight = new Flight<Key, Value>(name, key);
    const work = async (): Promise<Outcome<Value>> => {
      const askedAtMs = this.#core.nowMs();
      const answer = await this.#tier.ask(name, 'due');
      const read = this.#core.read(name, answer?.entry);
      const isNewer =
        read !== undefined && askedAtMs + read.entry.freshForMs > copy.endsMs + CLOCKS_APART_MS;
      if (isNewer && !flight.isDirty) this.#core.keep(name, read, askedAtMs);
      const granted = answer?.lease.kind === 'granted' ? answer.lease.lease : undefined;
      const lease = isNewer ? granted : (granted ?? (await this.#tier.leaseAnyhow(name)));
      // Who joined asks again.
      if (lease === undefined)
        return { value: undefined, from: 'shared', ageMs: 0, stale: undefined, isVoided: true };
      this.#core.meter.early += 1;
      return loadedNow(await this.#load(flight, lease, copy.value));
    };
    flight.phase = 'loading';
    void this.#start(flight, work).catch(() => undefined);
  }

  #staleCopy(name: string): StaleValue<Value> | undefined {
    const copy = this.#core.near?.get(name);
    const nowMs = this.#core.nowMs();
    if (copy === undefined || nowMs >= copy.keptUntilMs) return undefined;
    if (this.#core.settings.graceMs === 0) return undefined;
    return staleOf(copy, nowMs);
  }

  #hit(read: ReadEntry<Value>): Outcome<Value> {
    const { meter } = this.#core;
    meter.shared += 1;
    meter.ageMs.record(read.entry.ageMs);
    const { value, entry } = read;
    return { value, from: 'shared', ageMs: entry.ageMs, stale: undefined, isVoided: false };
  }

  #stale(name: string, stale: StaleValue<Value>, because: StaleBecause): Outcome<Value> {
    this.#core.meter.stale += 1;
    this.#core.emit({ kind: 'stale-answer', key: name, because });
    return { ...stale, stale: because, isVoided: false };
  }
}
