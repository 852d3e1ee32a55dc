import { checkNumber, checkOneOf, checkOptions } from '../../core/options.ts';
import type { Clock, Random } from '../../ports/clock.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { findingsIn, findingText, type Finding } from './findings.ts';
import { QueryLog, runWithQueryLog, type LogEntry } from './query-log.ts';

export interface RequestLogOptions {
  /**
   * `development`: every request is looked at, with call sites, and findings are told. `production`: a share of
   * them, and findings are counted.
   */
  readonly mode: 'development' | 'production';
  /** The share of requests that production looks at. Default 0.01. */
  readonly sample?: number;
  /** The same query from one place so often is an N+1. Default 5. */
  readonly nPlusOneMin?: number;
  /** So many queries, each waiting for the one before, are a chain. Default 10. */
  readonly chainMin?: number;
  /** Where development tells. Default: a warning of the process. */
  readonly tell?: (text: string, finding: Finding) => void;
  /** Writes what was asked down, for `tally check --query-log`. */
  readonly record?: QueryRecord;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Where the queries of the requests that are looked at are written, and by whom they are asked. */
export interface QueryRecord {
  /** The service as the topology names it. */
  readonly service: string;
  /** Takes one line of JSON, without its end: `trace`, `service`, `store`, `statement` (values left out), `startMs`, `durationMs`. */
  readonly write: (line: string) => void;
}

/** What was found so far, by what and where. */
export interface FindingCount {
  readonly finding: Finding;
  /** Requests that were looked at and had it. */
  readonly requests: number;
}

/** Looks at what requests ask of their stores. */
export interface RequestLog {
  /** Runs one request; looks at it when what `work` returns is settled. Errors of `work` are passed on. */
  run<Result>(work: () => Result): Result;
  /** Requests that were looked at, and the findings in them, the most frequent first. */
  counts(): { readonly requests: number; readonly findings: readonly FindingCount[] };
}

const optionNames = [
  'mode',
  'sample',
  'nPlusOneMin',
  'chainMin',
  'tell',
  'record',
  'clock',
  'random',
] as const;
/** Different findings that are counted; whoever has more has enough to do. */
const FINDINGS_MAX = 1_000;
const SAMPLE_DEFAULT = 0.01;
export const N_PLUS_ONE_MIN_DEFAULT = 5;
const CHAIN_MIN_DEFAULT = 10;

/**
 * Keeps a log of each request's queries and finds loops of single queries (N+1) and chains in it. It sees calls
 * through guards, loaders and `gather`, and the queries of clients that {@link watchClient} watches. Each place is
 * told once. Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 */
export function requestLog(options: RequestLogOptions): RequestLog {
  checkOptions(options, optionNames, 'requestLog');
  const mode = checkOneOf(options.mode, 'requestLog.mode', ['development', 'production']);
  const sample = checkNumber(options.sample ?? SAMPLE_DEFAULT, 'requestLog.sample', {
    min: 0,
    max: 1,
  });
  const min = { min: 2, integer: true } as const;
  const limits = {
    nPlusOneMin: checkNumber(
      options.nPlusOneMin ?? N_PLUS_ONE_MIN_DEFAULT,
      'requestLog.nPlusOneMin',
      min,
    ),
    chainMin: checkNumber(options.chainMin ?? CHAIN_MIN_DEFAULT, 'requestLog.chainMin', min),
  };
  const { clock = systemClock, random = systemRandom, tell = warn, record } = options;
  if (record !== undefined) checkOptions(record, ['service', 'write'], 'requestLog.record');
  const counts = new Map<string, { finding: Finding; requests: number }>();
  let requests = 0;
  const look = (log: QueryLog): void => {
    requests += 1;
    if (record !== undefined) writeDown(log.entries, record, random.id());
    for (const finding of findingsIn(log.entries, limits)) {
      const name = nameOf(finding);
      const counted = counts.get(name);
      if (counted !== undefined) counted.requests += 1;
      else if (counts.size < FINDINGS_MAX) {
        counts.set(name, { finding, requests: 1 });
        if (mode === 'development') tell(findingText(finding), finding);
      }
    }
  };
  return {
    run(work) {
      if (mode === 'production' && random.next() >= sample) return work();
      const log = new QueryLog(clock, 'with call sites');
      return runWithQueryLog(log, () => whenSettled(work, () => look(log)));
    },
    counts: () => ({
      requests,
      findings: [...counts.values()].toSorted((left, right) => right.requests - left.requests),
    }),
  };
}

/** Runs `work`, and `then` when what it returned is settled; with a synchronous result at once. */
function whenSettled<Result>(work: () => Result, then: () => void): Result {
  const result = work();
  if (!(result instanceof Promise)) {
    then();
    return result;
  }
  return result.finally(then) as Result;
}

/** A query that was still under way when its request ended took at least until then: it is left out, not guessed. */
function writeDown(
  entries: readonly LogEntry[],
  { service, write }: QueryRecord,
  trace: string,
): void {
  for (const { store, fingerprint, startedMs, endedMs, covered } of entries) {
    if (covered || endedMs === undefined) continue;
    const durationMs = endedMs - startedMs;
    write(
      JSON.stringify({
        trace,
        service,
        store,
        statement: fingerprint,
        startMs: startedMs,
        durationMs,
      }),
    );
  }
}

function nameOf(finding: Finding): string {
  const { kind, at = '' } = finding;
  return kind === 'chain'
    ? `${kind} ${at} ${finding.fingerprints.join()}`
    : `${kind} ${at} ${finding.store} ${finding.fingerprint}`;
}

function warn(text: string): void {
  process.emitWarning(text, { type: 'TallyQueryWarning' });
}
