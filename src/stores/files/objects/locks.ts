import { createHash } from 'node:crypto';
import { link, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import { isAbsent, isPresent } from '../errors.ts';
import { livenessOf, readOwner, type Owner } from './owner.ts';

/** 160 bits of the hash of a name. */
export const NAME_CHARACTERS: number = 40;
/** Between two looks at a lock that somebody else holds. */
const PAUSE_MAX_MS = 25;
/** A lock is held for one comparison and one small write; longer than this somebody is stuck. */
const WAIT_MAX_MS = 45_000;
/** How long the locks of an owner on another host must be untouched before one is taken for left behind. */
const FOREIGN_QUIET_MS = 30_000;

/** What was last seen of a lock of another host. */
interface Sighting {
  readonly mark: string;
  readonly sinceMs: number;
}

/**
 * Locks by name, between all tasks of this process and between processes. A lock is a hard link to
 * its owner's file: link(2) makes it with its content at once, so nobody ever sees a lock without an
 * owner, and fails if it is there.
 *
 * A lock of a dead process is broken by one process alone. Otherwise: 1. A and B read that the owner
 * is dead 2. A removes the lock and takes it 3. B removes what is now A's lock. So whoever wants to
 * break the lock of owner X first links the claim `lock.X`; the claim of a breaker that died is
 * claimed in the same way, `lock.Y`, so the last claim's owner is alive and alone. It looks again,
 * and removes the lock only if it is still X's, which no dead process can change.
 */
export class KeyLocks {
  readonly #directory: string;
  readonly #ownerFile: string;
  readonly #self: Owner;
  readonly #clock: Clock;
  /** The end of the queue of this process for each lock file. */
  readonly #queues: Map<string, Promise<void>> = new Map();

  constructor(directory: string, ownerFile: string, self: Owner, clock: Clock) {
    this.#directory = directory;
    this.#ownerFile = ownerFile;
    this.#self = self;
    this.#clock = clock;
  }

  /** Runs `work` alone among all who hold `name`. Throws STORE_BUSY if a live holder keeps it for 45 s. */
  hold<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const path = join(
      this.#directory,
      createHash('sha256').update(name).digest('hex').slice(0, NAME_CHARACTERS),
    );
    return this.#inTurn(path, async () => {
      await this.#acquire(path);
      try {
        return await work();
      } finally {
        // It may be gone: a host that has not heard of us for long has taken us for gone.
        await removeIfPresent(path);
      }
    });
  }

  /** Waits until nothing that was asked for is held any more. */
  async idle(): Promise<void> {
    while (this.#queues.size > 0) await Promise.all(this.#queues.values());
  }

  /** Removes the lock file `path` if its owner is dead; for sweeping what crashes left behind. */
  async breakIfDead(path: string): Promise<boolean> {
    return this.#inTurn(path, async () => {
      const owner = await readOwner(path);
      if (owner === undefined || (await livenessOf(owner, this.#self)) !== 'dead') return false;
      return this.#break(path, owner, new Map());
    });
  }

  async #inTurn<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#queues.get(path);
    let release = (): void => undefined;
    const turn = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#queues.set(path, turn);
    await before;
    try {
      return await work();
    } finally {
      if (this.#queues.get(path) === turn) this.#queues.delete(path);
      release();
    }
  }

  async #acquire(path: string): Promise<void> {
    const from = this.#clock.monotonicMs();
    const sightings = new Map<string, Sighting>();
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MAX_MS)) {
      if (await this.#link(path)) return;
      const owner = await readOwner(path);
      if (owner === undefined) continue;
      // Nobody else of this store is here: it is our own lock that could not be removed before.
      if (owner.id === this.#self.id) return;
      if (await this.#isGone(path, owner, sightings)) {
        if (await this.#break(path, owner, sightings)) continue;
      }
      if (this.#clock.monotonicMs() - from >= WAIT_MAX_MS) throw busy(path, owner);
      await this.#clock.sleep(pauseMs);
    }
  }

  async #link(path: string): Promise<boolean> {
    try {
      await link(this.#ownerFile, path);
      return true;
    } catch (error) {
      if (isPresent(error)) return false;
      throw error;
    }
  }

  /** Whether the owner will never come back: its process is dead, or it is foreign and long quiet. */
  async #isGone(path: string, owner: Owner, sightings: Map<string, Sighting>): Promise<boolean> {
    const liveness = await livenessOf(owner, this.#self);
    if (liveness !== 'foreign') return liveness === 'dead';
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    if (found === undefined) return false;
    // Each lock taken or given back by that owner changes the link count of its file, and so this.
    const mark = `${found.ino}:${found.ctimeNs}`;
    const seen = sightings.get(path);
    if (seen?.mark === mark) return this.#clock.monotonicMs() - seen.sinceMs >= FOREIGN_QUIET_MS;
    sightings.set(path, { mark, sinceMs: this.#clock.monotonicMs() });
    return false;
  }

  /** Removes a lock of an owner that is gone; false if somebody else is at it. */
  async #break(lock: string, gone: Owner, sightings: Map<string, Sighting>): Promise<boolean> {
    const claims: string[] = [];
    for (let last = gone; ;) {
      const claim = `${lock}.${last.id}`;
      claims.push(claim);
      if (await this.#link(claim)) break;
      const breaker = await readOwner(claim);
      if (breaker === undefined) return false;
      // This process is alone at this lock: the claim is one that it could not remove before.
      if (breaker.id === this.#self.id) break;
      if (!(await this.#isGone(claim, breaker, sightings))) return false;
      last = breaker;
    }
    if ((await readOwner(lock))?.id === gone.id) await unlink(lock);
    for (const claim of claims) await removeIfPresent(claim);
    return true;
  }
}

/** Removes a file that may be gone already. */
export async function removeIfPresent(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

function busy(path: string, owner: Owner): TallyError {
  return new TallyError('STORE_BUSY', {
    what: `a key is locked by process ${owner.pid} on ${owner.place}`,
    where: path,
    mend: 'look why that process is stuck, or end it; its locks are then broken by whoever needs them',
    details: { pid: owner.pid, place: owner.place },
  });
}
