import { TallyError } from '../../../core/errors.ts';
import type { RedisArgument } from '../link.ts';
import type { RedisParts } from '../parts.ts';
import { TrackingConnection } from './connection.ts';

/** Between two tries to connect: doubled from the first up to the last. */
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 1_000;
/** How often the masters of a cluster are compared with those that are listened to. */
const TOPOLOGY_EVERY_MS = 1_000;

/** What a tracker says, in the order in which it came to know. */
export type InvalidationEvent =
  /** From now on every change is told. What is read after this may be kept. */
  | { readonly kind: 'tracking' }
  /** This key was changed, has expired, or was evicted; whole, with its prefix. */
  | { readonly kind: 'key'; readonly key: string }
  /** Changes were or may be missed: nothing that was kept is to be believed, and nothing is to be kept until `tracking`. */
  | { readonly kind: 'gap'; readonly reason: GapReason };

export type GapReason =
  | 'connection-lost'
  /** FLUSHALL or FLUSHDB: every key is gone. */
  | 'emptied'
  /** A master joined or left the cluster. */
  | 'topology-changed';

export interface TrackOptions {
  /**
   * Told of are keys that begin with one of these, read by whomever; none may begin with another. Not given: keys that
   * were read with {@link InvalidationTracker.read}, each once for a read; not on a cluster.
   */
  readonly prefixes?: readonly string[];
  /** Called with each event, at once, and never again after close. It must not throw. */
  readonly onEvent: (event: InvalidationEvent) => void;
}

/** Listens until it is closed. */
export interface InvalidationTracker extends AsyncDisposable {
  /** Whether changes are told of at this moment. */
  readonly isTracking: boolean;
  /**
   * Sends a command that reads on the connection that is told of changes; without `prefixes` only. Its answer comes
   * before what is told of later changes. Throws STORE_UNREACHABLE.
   */
  read(args: readonly RedisArgument[]): Promise<unknown>;
  close(): Promise<void>;
}

/**
 * Listens to what Redis tells of changed keys (client-side caching, RESP3), on connections of its own; resolves once it
 * does. A lost connection is a `gap` at once, a server that is silent but connected within three seconds; it then
 * connects again for as long as it takes, and says `tracking`.
 *
 * With `prefixes`, what was asked of Redis on another connection may be answered after its change was told: whoever
 * keeps answers drops one whose key was told of, or for which there was a gap, since it was asked.
 *
 * Throws STORE_UNREACHABLE if it cannot connect at first, CONFIG_INVALID, CAPABILITY_MISSING for reads on a cluster.
 */
export async function trackInvalidations(
  parts: RedisParts,
  options: TrackOptions,
): Promise<InvalidationTracker> {
  checkPrefixes(parts, options.prefixes);
  const tracker = new Tracker(parts, options);
  await tracker.start();
  return tracker;
}

interface Listening {
  /** Resolves when one of the masters is no longer heard. */
  readonly lost: Promise<GapReason>;
}

class Tracker implements InvalidationTracker {
  readonly #parts: RedisParts;
  readonly #options: TrackOptions;
  readonly #closing: AbortController = new AbortController();
  #connections: readonly TrackingConnection[] = [];
  #running: Promise<void> = Promise.resolve();
  #isTracking = false;

  constructor(parts: RedisParts, options: TrackOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  get isTracking(): boolean {
    return this.#isTracking;
  }

  async start(): Promise<void> {
    this.#running = this.#run(await this.#listen());
  }

  async read(args: readonly RedisArgument[]): Promise<unknown> {
    const [connection] = this.#connections;
    if (this.#options.prefixes === undefined && connection !== undefined && this.#isTracking)
      return connection.send(args);
    throw new TallyError(
      this.#options.prefixes === undefined ? 'STORE_UNREACHABLE' : 'CAPABILITY_MISSING',
      {
        what:
          this.#options.prefixes === undefined
            ? 'nothing is told of changed keys at the moment'
            : 'this tracker is told of keys by their prefixes, read by whomever',
        where: this.#parts.where,
        mend:
          this.#options.prefixes === undefined
            ? 'wait for the event tracking'
            : 'read on any other connection',
      },
    );
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#isTracking = false;
    this.#drop();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(first: Listening): Promise<void> {
    const { clock } = this.#parts;
    const { signal } = this.#closing;
    let listening = first;
    let waitMs = RETRY_FIRST_MS;
    for (;;) {
      const reason = await listening.lost;
      this.#drop();
      if (signal.aborted) return;
      this.#isTracking = false;
      this.#tell({ kind: 'gap', reason });
      for (;;) {
        try {
          listening = await this.#listen();
          waitMs = RETRY_FIRST_MS;
          break;
        } catch {
          await clock.sleep(waitMs, signal).catch(() => undefined);
          if (signal.aborted) return;
          waitMs = Math.min(2 * waitMs, RETRY_MAX_MS);
        }
      }
    }
  }

  /** Listens to every master. */
  async #listen(): Promise<Listening> {
    const { driver, clock, where } = this.#parts;
    const { prefixes } = this.#options;
    const lost = Promise.withResolvers<GapReason>();
    const urls = await this.#masters();
    const opening = urls.map((url) =>
      TrackingConnection.open({
        driver,
        url,
        clock,
        where,
        prefixes,
        onInvalid: (key) => this.#invalid(key),
        onLost: () => lost.resolve('connection-lost'),
      }),
    );
    const opened = await Promise.allSettled(opening);
    this.#connections = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = opened.find((one) => one.status === 'rejected');
    if (failed !== undefined || this.#closing.signal.aborted) {
      this.#drop();
      if (failed !== undefined) throw failed.reason;
      lost.resolve('connection-lost');
      return { lost: lost.promise };
    }
    this.#closing.signal.addEventListener('abort', () => lost.resolve('connection-lost'), {
      once: true,
    });
    if (this.#parts.link.isCluster) void this.#compareMasters(urls, lost);
    this.#isTracking = true;
    this.#tell({ kind: 'tracking' });
    return { lost: lost.promise };
  }

  #invalid(key: string | undefined): void {
    // Not before all masters are listened to: nothing has been kept by then.
    if (!this.#isTracking) return;
    if (key !== undefined) return this.#tell({ kind: 'key', key });
    this.#tell({ kind: 'gap', reason: 'emptied' });
    this.#tell({ kind: 'tracking' });
  }

  #tell(event: InvalidationEvent): void {
    if (!this.#closing.signal.aborted) this.#options.onEvent(event);
  }

  #drop(): void {
    for (const connection of this.#connections) connection.close();
    this.#connections = [];
  }

  async #masters(): Promise<readonly string[]> {
    const { address, link } = this.#parts;
    if (address.kind === 'server') return [address.url];
    const nodes = await link.sendEach(['PING']);
    return nodes
      .map(({ node }) => {
        const url = new URL(address.urls[0] ?? '');
        url.host = node;
        return url.href;
      })
      .toSorted();
  }

  async #compareMasters(
    listened: readonly string[],
    lost: PromiseWithResolvers<GapReason>,
  ): Promise<void> {
    const { signal } = this.#closing;
    const over = new AbortController();
    void lost.promise.then(() => over.abort());
    while (!over.signal.aborted && !signal.aborted) {
      await this.#parts.clock.sleep(TOPOLOGY_EVERY_MS, over.signal).catch(() => undefined);
      // A cluster that cannot be asked says nothing about who its masters are.
      const now = await this.#masters().catch(() => listened);
      if (now.join(' ') !== listened.join(' ')) lost.resolve('topology-changed');
    }
  }
}

function checkPrefixes(parts: RedisParts, prefixes: readonly string[] | undefined): void {
  if (prefixes === undefined) {
    if (!parts.link.isCluster) return;
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'on a cluster, keys are not told of by what was read',
      where: parts.where,
      mend: 'track prefixes',
    });
  }
  const clash = prefixes.find((one, at) =>
    prefixes.some((other, place) => place !== at && one.startsWith(other)),
  );
  if (prefixes.length > 0 && clash === undefined) return;
  throw new TallyError('CONFIG_INVALID', {
    what:
      clash === undefined
        ? 'no prefix is given'
        : `the prefix ${JSON.stringify(clash)} begins with another one`,
    where: 'prefixes',
    mend: 'give prefixes of which none begins with another; an empty one stands for all keys',
  });
}
