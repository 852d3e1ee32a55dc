import type { DatabaseSync } from 'node:sqlite';
import type { FlowStatus } from 'tallystick';
import type { Kills } from './supervisor.ts';
import type { ShopStatus } from './protocol.ts';
import { isWhole } from './verify/verify.ts';
import type { Drift } from './verify/boundaries.ts';

const BAD_LINES_SHOWN = 20;

/** Milliseconds from the commit at the owner to the target. */
export interface Lag {
  readonly p50: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

/** What the shop did, and what became of it. Counts of workers that were killed are as they last told them. */
export interface Report {
  readonly ok: boolean;
  readonly seconds: number;
  readonly orders: number;
  readonly customers: number;
  readonly lines: number;
  readonly linesReplayed: number;
  readonly changesCaptured: number;
  readonly flows: Readonly<
    Record<string, { applied: number; older: number; parked: number; lagMs: Lag }>
  >;
  readonly reads: {
    readonly outcomes: Readonly<Record<string, number>>;
    readonly wrong: Readonly<Record<string, number>>;
    readonly waitMs: { readonly p50: number | null; readonly p99: number | null };
  };
  readonly kills: Kills;
  /** How often each server was killed. */
  readonly outages: Readonly<Record<string, number>>;
  readonly leftBehind: readonly string[];
  readonly drift: Readonly<Record<string, Drift>>;
  readonly badLines: {
    readonly total: number;
    readonly first: readonly { readonly line: number; readonly reason: string }[];
  };
}

export interface ReportParts {
  /** The tables of the owner. */
  readonly owner: DatabaseSync;
  readonly seconds: number;
  readonly lives: readonly ShopStatus[];
  readonly kills: Kills;
  readonly outages: Readonly<Record<string, number>>;
  readonly leftBehind: readonly string[];
  readonly drift: Readonly<Record<string, Drift>>;
}

/** Everything in one document. */
export function reportOf(parts: ReportParts): Report {
  const { owner, seconds, lives, kills, outages, leftBehind, drift } = parts;
  const number = (sql: string): number => Number(Object.values(owner.prepare(sql).get() ?? {})[0]);
  const flows = flowsOf(lives);
  const reads = readsOf(lives);
  const parked = Object.values(flows).some((flow) => flow.parked > 0);
  const wrong = Object.keys(reads.wrong).length > 0 || reads.outcomes['failed'] !== undefined;
  const first = owner
    .prepare('SELECT line, reason FROM bad_lines ORDER BY line LIMIT ?')
    .all(BAD_LINES_SHOWN)
    .map(({ line, reason }) => ({ line: Number(line), reason: String(reason) }));
  return {
    ok: isWhole(drift) && leftBehind.length === 0 && !parked && !wrong,
    seconds,
    orders: number('SELECT count(*) FROM orders'),
    customers: number('SELECT count(*) FROM customers'),
    lines: number('SELECT count(*) FROM order_lines'),
    linesReplayed: number('SELECT coalesce(sum(replayed), 0) FROM replays'),
    changesCaptured: sum(lives.flatMap(({ app }) => app.lanes.map(({ captured }) => captured))),
    flows,
    reads,
    kills,
    outages,
    leftBehind,
    drift,
    badLines: { total: number('SELECT count(*) FROM bad_lines'), first },
  };
}

/** Each boundary over all workers: counts added up, lag of the worst of them. */
function flowsOf(lives: readonly ShopStatus[]): Report['flows'] {
  const byName = Map.groupBy(
    lives.flatMap(({ app }) => app.flows),
    ({ flow }) => flow,
  );
  return Object.fromEntries(Array.from(byName, ([name, statuses]) => [name, flowOf(statuses)]));
}

function flowOf(statuses: readonly FlowStatus[]): Report['flows'][string] {
  return {
    applied: sum(statuses.map(({ applied }) => applied)),
    older: sum(statuses.map(({ older }) => older)),
    parked: statuses.at(-1)?.parked ?? 0,
    lagMs: {
      p50: worst(statuses.map(({ lagMs }) => lagMs.p50)),
      p99: worst(statuses.map(({ lagMs }) => lagMs.p99)),
      max: worst(statuses.map(({ lagMs }) => lagMs.max)),
    },
  };
}

/** Reads after writes over all workers. */
export function readsOf(lives: readonly ShopStatus[]): Report['reads'] {
  const reports = lives.map(({ reads }) => reads);
  return {
    outcomes: added(reports.map(({ outcomes }) => outcomes)),
    wrong: added(reports.map(({ wrong }) => wrong)),
    waitMs: {
      p50: worst(reports.map(({ waitMs }) => waitMs.p50)),
      p99: worst(reports.map(({ waitMs }) => waitMs.p99)),
    },
  };
}

function added(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const [name, count] of counts.flatMap((one) => Object.entries(one)))
    total[name] = (total[name] ?? 0) + count;
  return total;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function worst(numbers: readonly (number | null)[]): number | null {
  const known = numbers.filter((number) => number !== null);
  return known.length === 0 ? null : Math.max(...known);
}
