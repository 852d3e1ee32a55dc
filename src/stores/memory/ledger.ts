import { must, TallyError, unreachable } from '../../core/errors.ts';
import { checkOptions } from '../../core/options.ts';
import { point } from '../../observe/point.ts';
import type {
  LeaseRecord,
  Ledger,
  LedgerOperation,
  LedgerRecord,
  LedgerResult,
  LedgerSupports,
} from '../../ports/ledger.ts';
import { Connection, createMemoryState, type LedgerState, type MemoryState } from './state.ts';

/** How a memory ledger is made. */
export interface MemoryLedgerOptions {
  /** What outlives the ledger; not given: an empty one that nobody else holds. */
  readonly state?: MemoryState;
}

/** An open memory ledger, and a way to die. */
export interface MemoryLedger extends Ledger {
  /** Ends it at once, as a killed process does: what is under way never reaches the state. */
  crash(): void;
}

/**
 * A ledger in this process, for tests and the simulator. It counts as durable if the caller holds
 * its state: only that can lose it. Throws CONFIG_UNKNOWN_OPTION.
 */
export function memoryLedger(options: MemoryLedgerOptions = {}): MemoryLedger {
  checkOptions(options, ['state'], 'memoryLedger');
  const connection = new Connection(options.state ?? createMemoryState(), 'ledger');
  return new OpenMemoryLedger(connection, { durable: options.state !== undefined, shared: false });
}

class OpenMemoryLedger implements MemoryLedger {
  readonly supports: LedgerSupports;
  readonly #connection: Connection;
  readonly #waiting: Set<Promise<unknown>> = new Set();
  #open = true;

  constructor(connection: Connection, supports: LedgerSupports) {
    this.#connection = connection;
    this.supports = supports;
  }

  async commit(operations: readonly LedgerOperation[]): Promise<LedgerResult> {
    const { state } = this.#connection;
    return this.#unit('commit', operations.length, () => {
      point('ledger.before-commit');
      const step = new Step(state);
      const result = operations.map((operation) => step.apply(operation));
      step.keep();
      point('ledger.after-commit-before-answer');
      return result;
    });
  }

  async get(space: string, key: string): Promise<LedgerRecord | undefined> {
    return this.#unit('get', 0, ({ spaces }) => spaces.get(space)?.get(key));
  }

  async list(
    space: string,
    options: { readonly prefix?: string; readonly after?: string; readonly limit?: number } = {},
  ): Promise<readonly LedgerRecord[]> {
    const { prefix = '', after, limit = Infinity } = options;
    return this.#unit('list', 0, ({ spaces }) =>
      [...(spaces.get(space)?.values() ?? [])]
        .filter(
          ({ key }) => key.startsWith(prefix) && (after === undefined || byBytes(key, after) > 0),
        )
        .toSorted((left, right) => byBytes(left.key, right.key))
        .slice(0, limit),
    );
  }

  async leases(): Promise<readonly LeaseRecord[]> {
    return this.#unit('leases', 0, ({ leases }) =>
      [...leases.values()]
        .filter(({ owner }) => owner !== '')
        .toSorted((left, right) => byBytes(left.lease, right.lease)),
    );
  }

  crash(): void {
    this.#open = false;
    this.#connection.drop();
  }

  /** Finishes the steps that wait, then ends. */
  async close(): Promise<void> {
    this.#open = false;
    await Promise.allSettled(this.#waiting);
    this.#connection.drop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #unit<Result>(
    operation: string,
    size: number,
    action: (ledger: LedgerState) => Result,
  ): Promise<Result> {
    if (!this.#open)
      throw new TallyError('STORE_CLOSED', {
        what: 'the ledger was used after it was closed',
        mend: 'open it again',
      });
    const { state } = this.#connection;
    const mine = this.#connection.unit({ port: 'ledger', operation, size }, () =>
      action(state.ledger),
    );
    this.#waiting.add(mine);
    try {
      return await mine;
    } finally {
      this.#waiting.delete(mine);
    }
  }
}

/** One step: its writes stand apart until all of it is known to hold. */
class Step {
  readonly #state: MemoryState;
  readonly #records: Map<string, Map<string, LedgerRecord | null>> = new Map();
  readonly #leases: Map<string, LeaseRecord> = new Map();

  constructor(state: MemoryState) {
    this.#state = state;
  }

  apply(operation: LedgerOperation): number {
    switch (operation.kind) {
      case 'put':
        return this.#put(operation);
      case 'delete':
        this.#expect(operation);
        this.#set(operation.space, operation.key, null);
        return 0;
      case 'guard':
        this.#held(operation.lease, operation.epoch);
        return 0;
      case 'acquire':
        return this.#acquire(operation);
      case 'renew': {
        const { lease, epoch, ttlMs, nowMs } = operation;
        this.#leases.set(lease, { ...this.#held(lease, epoch), expiresAtMs: nowMs + ttlMs });
        return epoch;
      }
      case 'release': {
        const { lease, epoch } = operation;
        this.#leases.set(lease, { ...this.#held(lease, epoch), owner: '', expiresAtMs: 0 });
        return 0;
      }
      default:
        return unreachable(operation);
    }
  }

  /** Puts all of it into the state. */
  keep(): void {
    const { spaces, leases } = this.#state.ledger;
    for (const [space, records] of this.#records) {
      const kept = spaces.get(space) ?? new Map<string, LedgerRecord>();
      spaces.set(space, kept);
      for (const [key, record] of records) {
        if (record === null) kept.delete(key);
        else kept.set(key, record);
      }
    }
    for (const [name, lease] of this.#leases) leases.set(name, lease);
  }

  #put(operation: Extract<LedgerOperation, { kind: 'put' }>): number {
    const { space, key, value } = operation;
    if (![space, key, value].every((text) => text.isWellFormed()))
      throw new TallyError('VALUE_UNSUPPORTED', {
        what: 'a text with half a surrogate pair has no UTF-8 form',
        where: `ledger space ${JSON.stringify(space)}`,
        mend: 'repair the text, or encode it first',
      });
    this.#expect(operation);
    // From one counter for all keys: a key that is deleted and written again gets a new version.
    const version = (this.#state.sequence += 1);
    this.#set(space, key, { key, value, version });
    return version;
  }

  #acquire(operation: Extract<LedgerOperation, { kind: 'acquire' }>): number {
    const { lease, owner, ttlMs, nowMs, breakOwner, floor = -1 } = operation;
    const held = this.#leases.get(lease) ?? this.#state.ledger.leases.get(lease);
    const free = held === undefined || held.owner === '' || held.expiresAtMs <= nowMs;
    const own = !free && held.owner === owner && owner !== breakOwner;
    if (!free && !own && held.owner !== breakOwner)
      throw new TallyError('LEASE_HELD', {
        what: `${held.owner} holds the lease`,
        where: lease,
        mend: 'wait until it is released or expires',
        details: { owner: held.owner, expiresAtMs: held.expiresAtMs },
      });
    const epoch = Math.max(own ? held.epoch : (held?.epoch ?? 0) + 1, floor + 1);
    this.#leases.set(lease, { lease, owner, epoch, expiresAtMs: nowMs + ttlMs });
    return epoch;
  }

  #held(lease: string, epoch: number): LeaseRecord {
    const held = this.#leases.get(lease) ?? this.#state.ledger.leases.get(lease);
    if (held === undefined || held.owner === '' || held.epoch !== epoch)
      throw new TallyError('FENCED_OUT', {
        what: `the lease is not held under epoch ${epoch}`,
        where: lease,
        mend: 'nothing; the newer worker goes on',
      });
    return held;
  }

  #expect(operation: {
    readonly space: string;
    readonly key: string;
    readonly ifVersion?: number;
  }): void {
    const { space, key, ifVersion } = operation;
    if (ifVersion === undefined) return;
    const seen = this.#records.get(space)?.get(key);
    const present = seen === undefined ? this.#state.ledger.spaces.get(space)?.get(key) : seen;
    const version = present?.version ?? 0;
    if (version !== ifVersion)
      throw new TallyError('LEDGER_CONFLICT', {
        what: `the record has version ${version}, not ${ifVersion}`,
        where: `${space}/${key}`,
        mend: 'read it again and decide anew',
      });
  }

  #set(space: string, key: string, record: LedgerRecord | null): void {
    if (!this.#records.has(space)) this.#records.set(space, new Map());
    must(this.#records.get(space), 'the staged space').set(key, record);
  }
}

function byBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}
