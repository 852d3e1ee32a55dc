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

/** Makes what was written visible to searches. */
export async function refresh(parts: OpenSearchParts, aliases: readonly string[]): Promise<void> {
  if (aliases.length === 0) return;
  const path = `/${pathOf(...aliases)}/_refresh`;
  await parts.link.request({ method: 'POST', path });
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
