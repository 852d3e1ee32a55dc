import { fenceText } from '../../../core/fence.ts';
import { documentId } from './document.ts';
import type { Write } from '../../../core/write.ts';
import type { OpenSearchParts } from '../parts.ts';
import { pathOf } from './names.ts';
import { OWN_FIELD } from './targets.ts';

/** Documents of one look. */
const LOOK_DOCUMENTS = 1_000;

interface Found {
  readonly _source?: {
    readonly [OWN_FIELD]?: { readonly fence: string; readonly ordinal?: number };
  };
}

/**
 * Of writes to one target that the server refused by version: the places of those that are newer all the same. A version has
 * no room for the ordinal, so two changes of one row in one transaction have the same; their ordinals are in the documents.
 * Between this look and the write a worker that was replaced may put a later change of the same transaction there; the one
 * that replaced it comes to that change, too. Undefined if the alias is not there.
 */
export async function newerOfSameVersion(
  parts: OpenSearchParts,
  alias: string,
  refused: readonly { readonly index: number; readonly write: Write }[],
): Promise<readonly number[] | undefined> {
  const newer: number[] = [];
  for (let from = 0; from < refused.length; from += LOOK_DOCUMENTS) {
    const looked = refused.slice(from, from + LOOK_DOCUMENTS);
    const { status, body } = await parts.link.request({
      method: 'POST',
      path: `/${pathOf(alias)}/_mget`,
      query: { _source_includes: OWN_FIELD },
      body: { ids: looked.map(({ write }) => documentId(write.key)) },
    });
    if (status === 404) return undefined;
    const { docs } = body as { readonly docs: readonly Found[] };
    for (const [at, { index, write }] of looked.entries()) {
      const { _source: source } = docs[at] ?? {};
      const own = source?.[OWN_FIELD];
      if (own === undefined || own.fence !== fenceText(write)) continue;
      const order = write.ordinal - (own.ordinal ?? 0);
      if (write.mode === 'repair' ? order >= 0 : order > 0) newer.push(index);
    }
  }
  return newer;
}
