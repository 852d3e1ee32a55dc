import assert from 'node:assert/strict';
import { checkNumber, checkOptions } from '../core/options.ts';
import { findingsIn, findingText } from '../patterns/compose/findings.ts';
import { QueryLog, runWithQueryLog } from '../patterns/compose/query-log.ts';
import { N_PLUS_ONE_MIN_DEFAULT } from '../patterns/compose/request-log.ts';
import { systemClock } from '../runtime/clock.ts';

/**
 * Runs `work` and resolves to what it returns if no query was made over and over from one place; rejects with node's
 * AssertionError that names the query and the line of the loop otherwise. It sees calls through guards, loaders and
 * `gather`, and the queries of clients under `watchClient`. `min`: how often is too often, 5 if not given; give the
 * test at least as many rows. Throws CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 */
export async function expectNoNPlusOne<Result>(
  work: () => Result | Promise<Result>,
  options: { readonly min?: number } = {},
): Promise<Result> {
  checkOptions(options, ['min'], 'expectNoNPlusOne');
  const nPlusOneMin = checkNumber(options.min ?? N_PLUS_ONE_MIN_DEFAULT, 'expectNoNPlusOne.min', {
    min: 2,
    integer: true,
  });
  const log = new QueryLog(systemClock, 'with call sites');
  const result = await runWithQueryLog(log, work);
  // A work that asked nothing has shown nothing: mostly the client is not watched.
  assert.notEqual(
    log.entries.length,
    0,
    'no query was seen: watch the client, or call it by a guard',
  );
  const findings = findingsIn(log.entries, { nPlusOneMin, chainMin: Infinity });
  assert.equal(findings.length, 0, findings.map((finding) => findingText(finding)).join('\n'));
  return result;
}
