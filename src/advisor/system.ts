import type { Known, Fact } from './fact.ts';
import type { SourceId } from './sources.ts';

/** What kind of system it is first of all. */
export const families = [
  'relational',
  'distributed-sql',
  'document',
  'key-value',
  'cache',
  'wide-column',
  'search',
  'graph',
  'time-series',
  'warehouse',
  'log',
  'queue',
  'objects',
  'files',
  'query-engine',
  'stream-processor',
  'coordination',
] as const;
export type Family = (typeof families)[number];

/** What an application keeps, as it thinks of it. */
export const dataModels = [
  'key-value',
  'document',
  'relational',
  'graph',
  'time-series',
  'search',
  'analytics',
  'log',
  'queue',
  'objects',
  'coordination',
] as const;
export type DataModel = (typeof dataModels)[number];

/** How data is asked for. */
export const queryShapes = [
  'point',
  'range',
  'secondary-index',
  'join',
  'aggregate',
  'full-text',
  'traversal',
  'geo',
  'vector',
  'subscribe',
] as const;
export type QueryShape = (typeof queryShapes)[number];

/**
 * What a reader can count on. `session`: own writes are seen. `linearizable`: one key, the newest value. `snapshot`:
 * many keys as of one moment. `serializable`: as if one after another. `strict-serializable`: and in real time.
 */
export const guarantees = [
  'session',
  'linearizable',
  'snapshot',
  'serializable',
  'strict-serializable',
] as const;
export type Guarantee = (typeof guarantees)[number];

/**
 * What an acknowledged write survives. `memory`: nothing. `periodic`: a crash, less the last moments. `disk`: a crash
 * of the machine. `replicated`: the loss of a machine.
 */
export const durabilities = ['memory', 'periodic', 'disk', 'replicated'] as const;
export type Durability = (typeof durabilities)[number];

/** How much changes as one step. `interactive`: a transaction that reads, decides and writes. */
export const transactionScopes = ['none', 'item', 'batch', 'interactive'] as const;
export type TransactionScope = (typeof transactionScopes)[number];

/** Where it can be written. */
export const reaches = ['process', 'region', 'global-reads', 'global-writes'] as const;
export type Reach = (typeof reaches)[number];

/** Which side a partition leaves standing; `CA` is the single node, which has no partition to stand. */
export type CapClass = 'CP' | 'AP' | 'CA';
export type PacelcClass = 'PC/EC' | 'PC/EL' | 'PA/EC' | 'PA/EL' | 'single node';

/** A system as it is set up and asked. CAP, consistency and durability are of this, never of a product. */
export interface Configuration {
  readonly id: string;
  /** The settings that make it this configuration. */
  readonly about: string;
  readonly cap: Fact<CapClass>;
  readonly pacelc: Fact<PacelcClass>;
  /** Every guarantee that holds; empty is eventual. */
  readonly guarantees: Known<readonly Guarantee[]>;
  readonly durability: Known<Durability>;
  readonly transactions: Known<TransactionScope>;
  readonly reach: Known<Reach>;
  /** Machines that can fail without a loss of service; 0 is a single point of failure. */
  readonly survives: Known<number>;
}

/** What Jepsen, or a test of that kind, found. */
export interface TestReport {
  readonly versions: string;
  readonly found: string;
  /** What mended it, or `open`. */
  readonly fixed: string;
  readonly source: SourceId;
}

/** A list price, in US dollars. */
export interface Price {
  readonly per:
    'gib-month' | 'million-reads' | 'million-writes' | 'tib-scanned' | 'million-requests';
  readonly dollars: number;
}

/** Another data model that the system serves well enough up to a size, so that no store need be added. */
export interface Stretch {
  readonly model: DataModel;
  /** The extension or feature. */
  readonly by: string;
  /** Our judgement of where it ends, in bytes of that data. */
  readonly bytesMax: number;
  readonly queries: readonly QueryShape[];
}

/** What is known of one system. */
export interface SystemProfile {
  readonly id: string;
  readonly name: string;
  /** Other names that people write. */
  readonly aliases: readonly string[];
  readonly family: Family;
  /** The first is what it was made for. */
  readonly models: Fact<readonly DataModel[]>;
  readonly queries: Known<readonly QueryShape[]>;
  readonly configurations: readonly [Configuration, ...Configuration[]];
  /** A point read inside one region, typical, not the worst. */
  readonly readMs: Known<number>;
  /** Where people stop putting more into one deployment. */
  readonly bytesMax: Known<number>;
  /** The largest row, document, message or object. */
  readonly itemBytesMax: Known<number>;
  readonly license: Known<{ readonly text: string; readonly open: boolean }>;
  /** How it is run: inside the process, on one's own machines, by somebody else. */
  readonly run: Fact<readonly ('embedded' | 'self-hosted' | 'managed')[]>;
  /** The npm package of a maintained driver; null if there is none. */
  readonly driver: Known<string | null>;
  /** People-days a month that one more of it costs a team that does not run it yet; our estimate. */
  readonly operations: Fact<number>;
  readonly tests: readonly TestReport[];
  readonly prices: readonly Fact<Price>[];
  readonly stretches: readonly Stretch[];
  /** What people should know before they choose it. */
  readonly caution?: Fact<string>;
}
