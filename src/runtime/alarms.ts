import type { Clock } from '../ports/clock.ts';
import { systemClock } from './clock.ts';

/** A timer may fire this much early, by the rounding of its delay; what is that near is due. */
const EARLY_MS = 0.001;

/** Of a timer that only keeps the process alive: as seldom as a timer can. */
const IDLE_MS = 2 ** 31 - 1;

/** Something that is to happen at a time. Its own object is in the list, so that nothing is made for it. */
export interface Alarm {
  /** When, on the monotonic clock. Not to be changed while it is set. */
  readonly atMs: number;
  /** Kept by {@link Alarms}: where in the list it stands; −1: it is not set. */
  place: number;
  ring(): void;
}

/**
 * Any number of alarms on one timer of the clock. Most deadlines of calls never come: to set and cancel
 * a timer for each costs more than all the rest of the call. Here an alarm is put into a heap and taken
 * out again, and the one timer that is armed for the earliest is left alone; when it fires for an alarm
 * that is gone, it is armed for the next one, or for none. At rest no timer is left.
 */
export class Alarms {
  readonly #clock: Clock;
  /** A binary heap, the earliest first. */
  readonly #heap: Alarm[] = [];
  #armedForMs = Infinity;
  #disarm: (() => void) | undefined;
  readonly #keepAlive: NodeJS.Timeout | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    if (clock === systemClock) this.#keepAlive = setInterval(() => undefined, IDLE_MS).unref();
  }

  /** Alarms that are set. */
  get size(): number {
    return this.#heap.length;
  }

  set(alarm: Alarm): void {
    if (this.#heap.length === 0) this.#keepAlive?.ref();
    this.#heap.push(alarm);
    this.#up(this.#heap.length - 1, alarm);
    if (alarm.atMs < this.#armedForMs) this.#arm(alarm.atMs);
  }

  /** Does nothing for an alarm that is not set. */
  cancel(alarm: Alarm): void {
    const { place } = alarm;
    if (place < 0) return;
    alarm.place = -1;
    const last = this.#heap.pop();
    if (this.#heap.length === 0) this.#keepAlive?.unref();
    if (last === undefined || last === alarm) return;
    this.#up(place, last);
    this.#down(last.place, last);
  }

  #arm(atMs: number): void {
    this.#disarm?.();
    this.#armedForMs = atMs;
    const delayMs = Math.max(0, atMs - this.#clock.monotonicMs());
    this.#disarm = this.#clock.after(delayMs, () => this.#fire());
  }

  #fire(): void {
    this.#armedForMs = Infinity;
    this.#disarm = undefined;
    const nowMs = this.#clock.monotonicMs() + EARLY_MS;
    try {
      for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
        if (first.atMs > nowMs) break;
        this.cancel(first);
        first.ring();
      }
    } finally {
      // An alarm that was set by one that rang may have armed the timer already, for something later.
      const [next] = this.#heap;
      if (next !== undefined && next.atMs < this.#armedForMs) this.#arm(next.atMs);
    }
  }

  #up(from: number, alarm: Alarm): void {
    const heap = this.#heap;
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.atMs <= alarm.atMs) break;
      heap[at] = parent;
      parent.place = at;
      at = above;
    }
    heap[at] = alarm;
    alarm.place = at;
  }

  #down(from: number, alarm: Alarm): void {
    const heap = this.#heap;
    let at = from;
    for (;;) {
      let below = 2 * at + 1;
      let child = heap[below];
      const right = heap[below + 1];
      if (child === undefined) break;
      if (right !== undefined && right.atMs < child.atMs) {
        child = right;
        below += 1;
      }
      if (child.atMs >= alarm.atMs) break;
      heap[at] = child;
      child.place = at;
      at = below;
    }
    heap[at] = alarm;
    alarm.place = at;
  }
}

const byClock = new WeakMap<Clock, Alarms>();

/** The alarms of a clock: one list for all of the process, and so one timer. */
export function alarmsOf(clock: Clock): Alarms {
  let alarms = byClock.get(clock);
  if (alarms === undefined) {
    alarms = new Alarms(clock);
    byClock.set(clock, alarms);
  }
  return alarms;
}
