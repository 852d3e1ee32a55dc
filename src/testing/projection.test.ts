import { expect, test } from 'vitest';
import { flow, put, remove, type Row } from '../index.ts';
import { created, deleted, existing, projection, updated } from './index.ts';

const titles = flow({
  from: 'orders',
  tables: ['products'],
  to: 'search',
  into: ['documents', 'names'],
  project: (row) => {
    if (row['title'] === 'poison') throw new Error('no such category');
    return row['hidden'] === true
      ? undefined
      : [
          put('documents', [row['sku'] as string], { title: row['title'] ?? null }),
          put('names', [row['title'] as string], {}),
        ];
  },
});

const totals = flow({
  from: 'orders',
  tables: ['lines'],
  to: 'reports',
  into: 'totals',
  fold: {
    apply: async ({ before, after }, state) => {
      const group = ((after ?? before) as Row)['group'] as string;
      if (after?.['amount'] === 'poison') throw new Error('not an amount');
      const sum = Number((await state.get(group)) ?? 0);
      const now = sum + Number(after?.['amount'] ?? 0) - Number(before?.['amount'] ?? 0);
      state.set(group, now);
      return now === 0 ? remove('totals', [group]) : put('totals', [group], { now });
    },
  },
});

const lamp = { sku: 'a', title: 'Lamp' };

/** What an assertion fails with. */
async function failure(work: Promise<void>): Promise<string> {
  return work.then(
    () => 'it held',
    (error: Error) => `${error.name} ${error.message}`,
  );
}

test('rows that are there, and rows that come, are what the targets hold', async () => {
  await projection(titles)
    .given(existing('products', ['a'], lamp))
    .when(created('products', ['b'], { sku: 'b', title: 'Desk' }))
    .thenHolds(
      put('documents', ['a'], { title: 'Lamp' }),
      put('documents', ['b'], { title: 'Desk' }),
      put('names', ['Lamp'], {}),
      put('names', ['Desk'], {}),
    );
});

test('what a projection put for the row before and no longer puts is gone', async () => {
  const story = projection(titles).given(existing('products', ['a'], lamp));
  await story
    .when(updated('products', ['a'], { sku: 'a', title: 'Lantern' }))
    .thenHolds(put('documents', ['a'], { title: 'Lantern' }), put('names', ['Lantern'], {}));
  await story.when(updated('products', ['a'], { ...lamp, hidden: true })).thenHolds();
  await story.when(deleted('products', ['a'])).thenHolds();
});

test('a fold keeps its state from one transaction to the next, and within one', async () => {
  await projection(totals)
    .given(existing('lines', [1], { group: 'g', amount: 100 }))
    .when(
      created('lines', [2], { group: 'g', amount: 10 }),
      created('lines', [3], { group: 'h', amount: 1 }),
      updated('lines', [2], { group: 'g', amount: 20 }),
    )
    .when(deleted('lines', [1]), deleted('lines', [3]))
    .thenHolds(put('totals', ['g'], { now: 20 }));
});

test('a poisoned change is parked, later ones of its row queue, others go on', async () => {
  await projection(titles)
    .when(created('products', ['a'], { sku: 'a', title: 'poison' }))
    .when(updated('products', ['a'], lamp), created('products', ['b'], { sku: 'b', title: 'B' }))
    .thenParks(
      [
        { unit: 'source products ["a"]', code: 'PROJECTION_FAILED' },
        { unit: 'source products ["a"]' },
      ],
      put('documents', ['b'], { title: 'B' }),
      put('names', ['B'], {}),
    );
});

test('a poisoned change of a fold leaves nothing in its state', async () => {
  await projection(totals)
    .given(existing('lines', [9], { group: 'g', amount: 'poison' }))
    .when(
      created('lines', [1], { group: 'g', amount: 'poison' }),
      created('lines', [2], { group: 'g', amount: 5 }),
    )
    .thenParks(
      [
        { unit: 'source lines [9]', code: 'PROJECTION_FAILED' },
        { unit: 'source lines [1]', code: 'PROJECTION_FAILED' },
      ],
      put('totals', ['g'], { now: 5 }),
    );
});

test('a target that refuses a row parks it by its target key', async () => {
  const dates = flow({
    from: 'orders',
    tables: ['products'],
    to: 'search',
    into: 'documents',
    project: (row) =>
      put('documents', [row['sku'] as string], {
        at: (row['sku'] === 'a' ? new Date(0) : 'text') as never,
      }),
  });
  await projection(dates)
    .when(created('products', ['a'], lamp), created('products', ['b'], { sku: 'b' }))
    .thenParks(
      [{ unit: 'target documents ["a"]', code: 'VALUE_UNSUPPORTED' }],
      put('documents', ['b'], { at: 'text' }),
    );
});

test('an expectation that does not hold fails with the difference', async () => {
  const story = projection(titles).given(existing('products', ['a'], lamp));
  const wrong = await failure(
    story.thenHolds(put('documents', ['a'], { title: 'Other' }), put('names', ['Lamp'], {})),
  );
  expect(wrong).toMatch(/^AssertionError/);
  expect(wrong).toContain('Other');
  expect(wrong).toContain('Lamp');
  expect(await failure(story.thenHolds(put('documents', ['a'], { title: 'Lamp' })))).toContain(
    'names',
  );
});

test('what was parked without being expected fails with the reason', async () => {
  const story = projection(titles).when(created('products', ['a'], { sku: 'a', title: 'poison' }));
  expect(await failure(story.thenHolds())).toContain('no such category');
});

test('a projection that looks at more than its row is found out', async () => {
  let asked = 0;
  const counting = flow({
    from: 'orders',
    tables: ['products'],
    to: 'search',
    into: 'documents',
    project: () => put('documents', ['a'], { asked: (asked += 1) }),
  });
  expect(
    await failure(
      projection(counting)
        .when(created('products', ['a'], lamp))
        .thenHolds(),
    ),
  ).toContain('asked twice');
});

test.each([
  ['a table that the flow does not read', () => created('product', ['a'], lamp), 'products'],
  ['a row that is there', () => created('products', ['a'], lamp), 'already'],
  ['a row that is not there', () => updated('products', ['b'], lamp), 'no row'],
  ['a deleted row that is not there', () => deleted('products', ['b']), 'no row'],
])('a story about %s is refused as CONFIG_INVALID', async (_what, change, says) => {
  const story = projection(titles)
    .given(existing('products', ['a'], lamp))
    .when(change());
  await expect(story.run()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expect(story.run()).rejects.toThrow(says);
});

test('a story can be told on in several ways: nothing of one is in another', async () => {
  const story = projection(totals).given(existing('lines', [1], { group: 'g', amount: 1 }));
  await story.when(deleted('lines', [1])).thenHolds();
  expect(await story.run()).toEqual({ rows: [put('totals', ['g'], { now: 1 })], parked: [] });
});
