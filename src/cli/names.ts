import { TallyError } from '../core/errors.ts';
import { suggest } from '../core/options.ts';

/**
 * `named`, if it is one of `names`. Throws CONFIG_INVALID with the nearest one: a misspelt name would be
 * left as a request that nobody can ever do.
 */
export function nameOf(kind: string, named: string, names: readonly string[]): string {
  if (names.includes(named)) return named;
  const near = suggest(named, names);
  const known =
    names.length === 0 ? `there is no ${kind} at all` : `use one of ${names.join(', ')}`;
  throw new TallyError('CONFIG_INVALID', {
    what: `there is no ${kind} ${named}`,
    mend: near === undefined ? known : `did you mean ${near}?`,
  });
}
