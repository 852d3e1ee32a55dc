import { isTallyError, TallyError } from '../core/errors.ts';
import { point } from '../observe/point.ts';
import type { Checkpoint } from '../ports/sink.ts';
import { BACKOFF_DEFAULT, retry } from '../runtime/backoff.ts';
import { workUnderLease, type HeldLease } from '../runtime/lease.ts';
import { backfill, needsBackfill } from './backfill.ts';
import { empty } from './emptying.ts';
import { presentEpoch } from './epochs.ts';
import {
  Generation,
  isFencedOut,
  targetShapes,
  type FlowParts,
  type StreamEnd,
} from './generation.ts';
import { forgetEarlier } from './parked.ts';
import { checkPlan } from './plan.ts';
import { retryParked } from './retry-parked.ts';

export interface FlowRunnerOptions extends FlowParts {
  readonly owner: string;
  readonly isDead: (owner: string) => boolean;
}

/** What a person asks of a running flow. */
export type FlowRequest =
  | { readonly kind: 'rebuild' }
  | { readonly kind: 'retry-parked'; readonly unit: string | undefined }
  | { readonly kind: 'drop-parked'; readonly unit: string };

/** The checkpoint of a target that holds nothing. */
const NOTHING: Checkpoint = { log: 0, last: undefined, through: undefined, backfill: undefined };

interface Asked {
  readonly request: FlowRequest;
  readonly resolve: (answer: number) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * One flow, running under its lease: it brings the source's rows to the target, then applies the log,
 * and does what a person asks between two batches.
 */
export class FlowRunner {
  readonly #options: FlowRunnerOptions;
  readonly #asked: Asked[] = [];
  #wake = new AbortController();
  #pauseForSwitch: { readonly paused: () => void; readonly resume: Promise<void> } | undefined;
  #rebuild: Promise<number> | undefined;
  /** The generation that readers see, while it is open. */
  #current: Generation | undefined;
  /** The generations that are open: the running one, and one that is built beside it. */
  readonly #open = new Set<Generation>();

  constructor(options: FlowRunnerOptions) {
    this.#options = options;
  }

  /**
   * Runs until the signal aborts. Throws LEASE_HELD if another worker has the flow, FENCED_OUT if one took
   * it over, and whatever a store throws; the supervisor decides what then.
   */
  async run(outer: AbortSignal): Promise<void> {
    const { ledger, clock, name, owner, isDead, observer } = this.#options;
    observer.state('starting');
    try {
      await workUnderLease(
        { ledger, clock, lease: `flow/${name}`, owner, isDead, signal: outer },
        (lease) => this.#runUnder(lease, outer),
      );
    } catch (error) {
      // Another worker has the flow: what was asked here is for that one. Done later, after taking the flow
      // back, it would be about other parked work than the person saw.
      // A flow that has failed for good would answer nobody.
      if (isFencedOut(error) || (isTallyError(error) && !error.retryable))
        for (const { reject } of this.#asked.splice(0)) reject(error);
      throw error;
    }
  }

  async #runUnder(lease: HeldLease, outer: AbortSignal): Promise<void> {
    // A rebuild is part of this run and ends with it. Otherwise: 1. the flow fails  2. the rebuild waits for it
    // to pause between two batches  3. the run waits for the rebuild to end, for ever, and keeps the lease.
    const ending = new AbortController();
    const signal = AbortSignal.any([lease.signal, ending.signal]);
    try {
      await this.#resumeRebuild();
      await this.#generations({ ...lease, signal });
      if (!outer.aborted) lease.signal.throwIfAborted();
    } catch (error) {
      // Whoever lost the lease stands by, whatever failed: the log that it wants to read may have been released
      // by the worker that took over.
      if (!outer.aborted) await lease.check();
      throw error;
    } finally {
      ending.abort(
        new TallyError('ABORTED', {
          what: 'the flow has stopped; its rebuild goes on when it starts again',
          where: `flow ${this.#options.name}`,
        }),
      );
      await this.#rebuild?.catch(() => undefined);
      await lease.release();
    }
  }

  /**
   * Asks the flow for something, to be done between two batches; resolves with the number of parked
   * changes that were applied or dropped, or the generation that a rebuild made current.
   */
  async ask(request: FlowRequest): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#asked.push({ request, resolve, reject });
    this.#wake.abort();
    return promise;
  }

  /** The log offset that the flow still needs; undefined while that is not known, so all of it. */
  get needsLog(): number | undefined {
    const needs = Array.from(this.#open, (generation) => generation.checkpoint?.log);
    return needs.length === 0
      ? undefined
      : needs.reduce((least, need) =>
          least === undefined || need === undefined ? undefined : Math.min(least, need),
        );
  }

  /** Runs the current generation; after a switch, the next one. */
  async #generations(lease: HeldLease): Promise<void> {
    const { sink, name } = this.#options;
    while (!lease.signal.aborted) {
      const number = (await sink.generation(name)) ?? 1;
      await using generation = await Generation.open(this.#options, number, lease);
      this.#open.add(generation);
      this.#current = generation;
      try {
        await checkPlan(generation);
        this.#publish(generation);
        if (await this.#runGeneration(generation, lease)) return;
      } finally {
        this.#open.delete(generation);
        this.#current = undefined;
      }
    }
  }

  /** Runs one generation; answers whether the flow is to end, rather than to open the generation it switched to. */
  async #runGeneration(generation: Generation, lease: HeldLease): Promise<boolean> {
    const { observer } = this.#options;
    let end: StreamEnd | undefined;
    for (;;) {
      // Before anything is applied. Otherwise: 1. the flow stops with all parked that it may park  2. a person
      // asks to drop some of it  3. the flow starts, has to park one more, and stops before it has listened.
      if (this.#asked.some(({ request }) => request.kind !== 'rebuild'))
        if (await this.#answer(generation, lease)) return false;
      if (!(await this.#catchUp(generation, lease.signal, end === 'reread'))) return true;
      observer.state('streaming');
      end = await generation.stream(lease.signal, { asked: this.#wake.signal });
      if (end === 'aborted') return true;
      if (end === 'asked' && (await this.#answer(generation, lease))) return false;
    }
  }

  /** Backfills if the generation needs it, or the log said so; false if the signal aborted first. */
  async #catchUp(generation: Generation, signal: AbortSignal, reread = false): Promise<boolean> {
    const { ledger, lane, log } = this.#options;
    // The first record of a lane says that it is captured: rows read before could miss changes made after.
    // Once there was one it is enough: a log that let go of all its records is not waited for.
    const { first, next } = await log.extent();
    const isLogLost = generation.rewind(next);
    if (next === 0 || isLogLost) {
      const batch = await log.read({ from: next, recordsMax: 1, bytesMax: 1, signal });
      if (batch.records.length === 0) return false;
    }
    const present = (await presentEpoch(ledger, lane)) ?? { epoch: 1, history: '' };
    const { epoch } = present;
    generation.forks = present.forks;
    // What a lost log held and nobody had applied is in no log now: only the rows themselves know.
    if (isLogLost || reread || needsBackfill(generation, present, first)) {
      if (this.#options.definition.starts === 'emptied') await empty(generation, present);
      else await backfill(generation, epoch, signal);
      this.#publish(generation);
      // An epoch that began meanwhile may have been marked in the log before the place this one goes on from:
      // the flow would stay in the old one until somebody writes.
      const now = (await presentEpoch(ledger, lane))?.epoch ?? epoch;
      if (now !== epoch) return this.#catchUp(generation, signal);
    }
    return !signal.aborted;
  }

  #publish(generation: Generation): void {
    // Its own observer: one that is built beside is not what readers see, and says nothing to barriers.
    const { observer } = generation.parts;
    observer.parked(generation.parked.size);
    // A target without a checkpoint is new, or it lost what it held: of that, nothing said before counts any more.
    observer.progress(generation.checkpoint ?? NOTHING, generation.parked.units(), undefined);
  }

  /** Does what was asked; answers whether readers now see another generation. */
  async #answer(generation: Generation, lease: HeldLease): Promise<boolean> {
    this.#wake = new AbortController();
    for (const { request, resolve, reject } of this.#asked.splice(0)) {
      try {
        if (request.kind === 'rebuild') this.#joinRebuild(generation, lease).then(resolve, reject);
        else resolve(await this.#handleParked(generation, request, lease.signal));
      } catch (error) {
        reject(error);
      }
    }
    const { paused, resume } = this.#pauseForSwitch ?? {};
    if (paused === undefined) return false;
    this.#pauseForSwitch = undefined;
    paused();
    await resume;
    return true;
  }

  async #handleParked(
    generation: Generation,
    request: Exclude<FlowRequest, { kind: 'rebuild' }>,
    signal: AbortSignal,
  ): Promise<number> {
    const changes = await generation.parked.list(request.unit);
    const done =
      request.kind === 'retry-parked' ? await retryParked(generation, changes, signal) : changes;
    await generation.parked.forget(done);
    this.#publish(generation);
    return done.length;
  }

  /** A rebuild that was under way when the flow last stopped goes on. */
  async #resumeRebuild(): Promise<void> {
    const { ledger, name, sink } = this.#options;
    const record = await ledger.get('rebuilds', name);
    if (record === undefined) return;
    const to = (JSON.parse(record.value) as { to: number }).to;
    if (((await sink.generation(name)) ?? 1) >= to) {
      await this.#built(to);
      return;
    }
    void this.ask({ kind: 'rebuild' }).catch(() => undefined);
  }

  /** A rebuild asked for while one is under way (resumed after a crash, say) is that one. */
  #joinRebuild(current: Generation, lease: HeldLease): Promise<number> {
    const { clock, random } = this.#options;
    const to = current.number + 1;
    // What passes is tried again here: the flow itself goes on, so nobody else would.
    this.#rebuild ??= retry(() => this.#build(to, lease), {
      attemptsMax: Infinity,
      backoff: BACKOFF_DEFAULT,
      clock,
      random,
      signal: lease.signal,
      retryIf: (error) =>
        !lease.signal.aborted &&
        (!isTallyError(error) || error.retryable || isTallyError(error, 'LOG_TRUNCATED')),
    })
      .catch((error: unknown) => this.#giveUp(error, lease))
      .finally(() => {
        this.#rebuild = undefined;
      });
    return this.#rebuild;
  }

  /** A rebuild that was refused for good is over: it must not begin again at each start. */
  async #giveUp(error: unknown, lease: HeldLease): Promise<never> {
    const { ledger, name } = this.#options;
    if (!lease.signal.aborted && isTallyError(error) && !error.retryable && !isFencedOut(error))
      await ledger.commit([lease.guard, { kind: 'delete', space: 'rebuilds', key: name }]);
    throw error;
  }

  /**
   * Builds the next generation beside the running one and switches readers to it.
   *
   * The running one is paused before the switch and the new one has passed all that it applied: readers
   * never see a target move back.
   */
  async #build(to: number, lease: HeldLease): Promise<number> {
    const { sink, name, definition, ledger } = this.#options;
    const current = this.#current;
    // A try that failed late may have closed it, and may have switched all the same: it is opened again first.
    if (current === undefined)
      throw new TallyError('CONDITION_FAILED', {
        what: 'the running generation is being opened',
        where: `flow ${name}`,
      });
    if (current.number >= to) return this.#built(to);
    if (definition.deletes === 'ignore')
      throw new TallyError('CONFIG_INVALID', {
        what: 'the target keeps rows that its source no longer has, and a rebuild would lose them',
        where: `flow ${name}`,
        mend: `run tally resnapshot APP.ts ${definition.from}, which adds what is missing and removes nothing`,
      });
    if (!sink.supports.switchOver)
      throw new TallyError('CAPABILITY_MISSING', {
        what: 'the target cannot build beside and switch',
        where: `flow ${name}`,
        mend: `run tally resnapshot APP.ts ${definition.from}, which compares every row in place`,
      });
    await ledger.commit([
      lease.guard,
      { kind: 'put', space: 'rebuilds', key: name, value: JSON.stringify({ to }) },
    ]);
    const parts = { ...this.#options, observer: quiet };
    let release = (): void => undefined;
    try {
      const next = await Generation.open(parts, to, lease);
      this.#open.add(next);
      try {
        await checkPlan(next);
        await this.#startOver(next);
        // A fenced target may show rows of a batch that was cut off before its checkpoint: what was in the log
        // by now. Switching to a generation that has only passed the checkpoint would take them back.
        const { next: end } = await this.#options.log.extent();
        const shown = (): number => Math.max(end, current.checkpoint?.log ?? 0);
        await this.#reach(next, shown, lease.signal);
        release = await this.#pause(lease.signal);
        await this.#reach(next, shown, lease.signal);
        // Readers may see the next generation before it is opened and speaks for itself: what is parked in it
        // is missing from then on.
        if (current.checkpoint !== undefined)
          this.#options.observer.progress(
            current.checkpoint,
            [...new Set([...current.parked.units(), ...next.parked.units()])],
            undefined,
          );
      } finally {
        this.#open.delete(next);
        await next[Symbol.asyncDispose]();
      }
      lease.signal.throwIfAborted();
      this.#current = undefined;
      await current[Symbol.asyncDispose]();
      point('rebuild.after-build-before-switch');
      await sink.switchTo(name, to, targetShapes(definition), lease.epoch);
      point('rebuild.after-switch-before-forget');
      return await this.#built(to);
    } finally {
      release();
    }
  }

  /** Readers see the generation that was built: nothing is left to do of it. */
  async #built(to: number): Promise<number> {
    const { ledger, name } = this.#options;
    await ledger.commit([{ kind: 'delete', space: 'rebuilds', key: name }]);
    await forgetEarlier(ledger, name, to);
    return to;
  }

  /** A build that was left so long ago that the log has let go of what it needs begins again. */
  async #startOver(next: Generation): Promise<void> {
    const { first } = await this.#options.log.extent();
    if (next.checkpoint === undefined || next.checkpoint.log >= first) return;
    await next.reset();
    await next.parked.forget(await next.parked.list());
  }

  /** Brings the next generation to a place in the log, through new epochs if need be. */
  async #reach(next: Generation, to: () => number, signal: AbortSignal): Promise<void> {
    let end: StreamEnd | undefined;
    do {
      if (!(await this.#catchUp(next, signal, end === 'reread'))) return;
      end = await streamUntil(next, to, signal);
    } while (end === 'new-epoch' || end === 'reread');
  }

  /** Waits until the running generation has stopped between two batches; the answer lets the flow go on. */
  async #pause(signal: AbortSignal): Promise<() => void> {
    const paused = Promise.withResolvers<void>();
    const resume = Promise.withResolvers<void>();
    this.#pauseForSwitch = { paused: paused.resolve, resume: resume.promise };
    this.#wake.abort();
    try {
      await Promise.race([paused.promise, aborted(signal)]);
    } catch (error) {
      // Nobody is to wait for a switch that will not come, now or in the next run.
      this.#pauseForSwitch = undefined;
      resume.resolve();
      throw error;
    }
    return resume.resolve;
  }
}

/** A generation that is being built is not what readers see: it reports to nobody. */
const quiet: FlowParts['observer'] = {
  state: () => undefined,
  applied: () => undefined,
  progress: () => undefined,
  parked: () => undefined,
};

/**
 * Streams until the generation has applied the log up to what `reach` says at that moment, and holds no row that
 * is still to be swept: readers of the running one have seen it go.
 */
async function streamUntil(
  generation: Generation,
  reach: () => number,
  signal: AbortSignal,
): Promise<StreamEnd> {
  const reached = (): boolean => {
    const { checkpoint } = generation;
    return (checkpoint?.log ?? 0) >= reach() && checkpoint?.backfill?.state !== 'unswept';
  };
  if (signal.aborted) return 'aborted';
  return reached() ? 'asked' : generation.stream(signal, { until: reached });
}

/** Rejects with the reason when the signal aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => reject(signal.reason as Error);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
