import type { Clock, Random } from '../../ports/clock.ts';
import type { RedisAddress, RedisDriver } from './driver.ts';
import type { RedisLink } from './link.ts';

/** What the ports of one open Redis are made of. */
export interface RedisParts {
  /** The coordinator's own connection; nothing that blocks is sent on it. */
  readonly link: RedisLink;
  /** Opens a connection for what blocks, or must not wait behind others. Whoever opens it closes it. */
  readonly connect: () => Promise<RedisLink>;
  readonly driver: RedisDriver;
  readonly address: RedisAddress;
  /** What every key of this store starts with; may be empty. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly random: Random;
  /** For messages, e.g. `store sessions`. */
  readonly where: string;
}
