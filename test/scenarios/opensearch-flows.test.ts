import { expect, test } from 'vitest';
import { flow, open, put, tally, type OpenApp } from 'tallystick';
import { readModels } from 'tallystick/cqrs';
import { documents, opensearch, type OpenSearchClient } from 'tallystick/opensearch';
import { sqlite } from 'tallystick/sqlite';
import { askOpenSearch, freshOpenSearch, hasOpenSearch } from '../support/opensearch.ts';
import { sql, tempDir, waitFor } from '../support/scenario.ts';

const path = tempDir();

function indexing(at: { readonly url: string; readonly prefix: string }) {
  sql(path('owner.db'), 'CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, title, cents)');
  const items = documents({ fields: { title: 'text', cents: 'long' } });
  return tally({
    name: 'shop',
    dir: path('tally'),
    stores: {
      owner: sqlite({ file: path('owner.db') }),
      search: opensearch({ ...at, targets: { items } }),
    },
    flows: {
      indexing: flow({
        from: 'owner',
        tables: ['t'],
        to: 'search',
        into: 'items',
        project: ({ id, title, cents }) =>
          put('items', [id as number], { title: title ?? null, cents: cents ?? null }),
      }),
    },
  });
}

type Indexing = OpenApp<ReturnType<typeof indexing>['stores']>;

async function add(app: Indexing, id: number, title: string, cents: number | string = 5) {
  const { evidence } = await app.write('owner', (db) =>
    db.prepare('INSERT INTO t VALUES (?, ?, ?)').run(id, title, cents),
  );
  return evidence;
}

async function titlesOf(
  client: OpenSearchClient,
  index: string,
  words: string,
): Promise<readonly string[]> {
  const { body } = await client.request({
    method: 'POST',
    path: `/${index}/_search`,
    body: { query: { match: { title: words } } },
  });
  const { hits } = body as { hits: { hits: { _source: { title: string } }[] } };
  return hits.hits.map(({ _source: { title } }) => title);
}

test.skipIf(!hasOpenSearch)(
  'a search after evidence finds what was written, a row that the index refuses is parked, and a deleted index is filled anew',
  async () => {
    await using at = freshOpenSearch();
    const index = `${at.prefix}items`;
    await using app = await open(indexing({ url: at.url, prefix: at.prefix }));
    const query = readModels(app, {
      names: { store: 'search', about: 'items', offers: ['search'], target: 'items' },
    }).query<string, readonly string[]>({
      about: 'items',
      ways: [
        { needs: 'search', by: { opensearch: (client, words) => titlesOf(client, index, words) } },
      ],
    });
    const after = await add(app, 1, 'a green lamp');
    const answer = await query('green', { after, within: '20s' });
    expect(answer).toMatchObject({ value: ['a green lamp'], freshness: { kind: 'fresh' } });

    await add(app, 2, 'a bad lamp', 'no number');
    const next = await add(app, 3, 'a red lamp');
    await waitFor(async () => {
      const { body } = await askOpenSearch(at.url, 'GET', `/${index}/_doc/%5B3%5D`);
      return (body as { found?: boolean }).found === true ? true : undefined;
    });
    expect((await app.status()).flows[0]).toMatchObject({ parked: 1 });
    expect(next).toBeDefined();

    await askOpenSearch(at.url, 'DELETE', `/${index}-g1`);
    await waitFor(async () => {
      const { body } = await askOpenSearch(at.url, 'GET', `/${index}/_doc/%5B1%5D`);
      return (body as { found?: boolean }).found === true ? true : undefined;
    });
  },
);
