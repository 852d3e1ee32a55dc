import type { Clock } from '../../ports/clock.ts';
import type { MemcachedLink } from './link.ts';

/** What the ports of one open Memcached are made of. */
export interface MemcachedParts {
  /** The coordinator's own connection. */
  readonly link: MemcachedLink;
  /** What every key of this store starts with; may be empty. */
  readonly prefix: string;
  readonly clock: Clock;
  /** For messages, e.g. `store sessions`. */
  readonly where: string;
}
