import type { Clock } from '../../ports/clock.ts';
import type { Link } from './http/link.ts';
import type { Visibility } from './options.ts';
import type { Names } from './sink/names.ts';
import type { Catalogue } from './sink/targets.ts';

/** What the ports of one open store are made of. */
export interface OpenSearchParts {
  readonly link: Link;
  readonly names: Names;
  readonly catalogue: Catalogue;
  readonly visible: Visibility;
  readonly rowBytesMax: number;
  readonly clock: Clock;
  /** For messages, e.g. `store search`. */
  readonly where: string;
}
