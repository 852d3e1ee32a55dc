import { randomBytes } from 'node:crypto';
import { isThere, sharedServer, urlOf } from './shared.ts';

// Heavy servers have a file each: only a run with tests of theirs starts them.
const opensearch = await sharedServer('opensearch');

/** Whether it can be had: `describe.skipIf(!hasOpenSearch)`. With TALLY_REQUIRE_SERVERS=1 a missing one fails instead. */
export const hasOpenSearch: boolean = isThere('OpenSearch', opensearch);

/** The OpenSearch that all tests of this run share. */
export function openSearchUrl(): string {
  return urlOf('OpenSearch', opensearch);
}

export interface FreshOpenSearch extends AsyncDisposable {
  readonly url: string;
  /** To begin every index with: the server may be somebody's. */
  readonly prefix: string;
}

/** Takes indices that nobody else uses. Disposing removes them. */
export function freshOpenSearch(): FreshOpenSearch {
  const url = openSearchUrl();
  const prefix = `t${randomBytes(6).toString('hex')}-`;
  return {
    url,
    prefix,
    [Symbol.asyncDispose]: async () => {
      // Concrete names: a server may refuse to delete by a pattern.
      const found = await askOpenSearch(url, 'GET', `/${prefix}*`);
      const indices = Object.keys(found.body as object);
      if (indices.length > 0) await askOpenSearch(url, 'DELETE', `/${indices.join(',')}`);
    },
  };
}

export interface Asked {
  readonly status: number;
  readonly body: unknown;
}

/** Asks past the store, as another program would. */
export async function askOpenSearch(
  url: string,
  method: string,
  path: string,
  body?: object,
): Promise<Asked> {
  const answer = await fetch(url + path, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
}
