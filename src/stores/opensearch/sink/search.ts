import { TallyError } from '../../../core/errors.ts';
import type { Row } from '../../../core/row.ts';
import { corruptAnswer } from '../errors.ts';
import type { OpenSearchParts } from '../parts.ts';
import { pathOf } from './names.ts';
import { OWN_FIELD } from './targets.ts';

/** A document that a search found. */
export interface Hit {
  readonly _id: string;
  readonly _source: Row;
  readonly sort?: readonly unknown[];
}

/**
 * Makes what was written visible to searches; false if one of the aliases is not there. Throws STORE_BUSY if a copy of a
 * shard could not be refreshed: a search that comes to that copy would not find it.
 */
export async function refresh(
  parts: OpenSearchParts,
  aliases: readonly string[],
): Promise<boolean> {
  if (aliases.length === 0) return true;
  const path = `/${pathOf(...aliases)}/_refresh`;
  const { status, body } = await parts.link.request({ method: 'POST', path });
  if (status === 404) return false;
  const { _shards: shards } = body as { readonly _shards?: { readonly failed?: number } };
  const failed = shards?.failed ?? 0;
  if (failed === 0) return true;
  throw new TallyError('STORE_BUSY', {
    what: `${failed} copies of shards could not be refreshed`,
    where: `${parts.where}, POST ${path}`,
    mend: 'nothing: the flow tries again; GET /_cluster/allocation/explain says what keeps a copy',
    details: { failed },
  });
}

/** Searches, and throws if a shard did not answer: what it holds would be taken for not there. */
export async function search(
  parts: OpenSearchParts,
  alias: string,
  body: object,
  signal?: AbortSignal,
): Promise<readonly Hit[] | undefined> {
  const path = `/${pathOf(alias)}/_search`;
  const answer = await parts.link.request({
    method: 'POST',
    path,
    query: { allow_partial_search_results: false },
    body,
    ...(signal === undefined ? {} : { signal }),
  });
  if (answer.status === 404) return undefined;
  const hits = (answer.body as { readonly hits?: { readonly hits?: readonly Hit[] } }).hits?.hits;
  if (hits === undefined)
    throw corruptAnswer('the answer has no hits', `${parts.where}, POST ${path}`, '');
  return hits;
}

/** Documents with a fence before `before`, rows or tombstones. */
export function olderThan(before: string, kind: 'rows' | 'tombstones'): object {
  const fence = { range: { [`${OWN_FIELD}.fence`]: { lt: before } } };
  const deleted = { exists: { field: `${OWN_FIELD}.deleted` } };
  return kind === 'rows'
    ? { bool: { filter: [fence], must_not: [deleted] } }
    : { bool: { filter: [fence, deleted] } };
}
