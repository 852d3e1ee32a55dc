import { expect, test } from 'vitest';
import { z } from 'zod';
import { flow, put, remove, type FlowDefinition, type FlowOptions, type Row } from 'tallystick';
import { created, existing, projection } from 'tallystick/testing';
import { accountDecider } from '../../../test/support/account.ts';
import { decider } from './decider.ts';
import { foldEvents, projectEvents, projectState } from './projections.ts';

const account = accountDecider();

const views = (of: Pick<FlowOptions, 'project' | 'fold'>): FlowDefinition =>
  flow({ from: 'bank', tables: ['events'], to: 'views', into: 'rows', ...of });

let position = 0;
/** An event as the table `events` has it. */
function event(
  stream: string,
  version: number,
  type: string,
  data: object,
  more: Partial<Row> = {},
): [string, [number], Row] {
  position += 1;
  const row = {
    position,
    stream,
    version,
    id: `e${position}`,
    type,
    schemaVersion: 1,
    data: data as Row,
    metadata: {},
    correlationId: null,
    causationId: null,
    tags: [],
    atMs: 1_000 + position,
    ...more,
  };
  return ['events', [position], row];
}

const names = views({
  project: projectEvents(account, {
    opened: ({ data }, { id }) => put('rows', [id], { owner: data.owner }),
    closed: (_event, { id }) => remove('rows', [id]),
  }),
});

test('events of each type become rows; other types and other categories are passed over', async () => {
  await projection(names)
    .given(existing(...event('account-a', 1, 'opened', { owner: 'Ada' })))
    .when(
      created(...event('account-b-2', 1, 'opened', { owner: 'Bob' })),
      created(...event('account-b-2', 2, 'deposited', { cents: 1 })),
      created(...event('accounting-c', 1, 'opened', { owner: 'Eve' })),
      created(...event('other-c', 1, 'what is this', {})),
    )
    .when(created(...event('account-a', 2, 'closed', {})))
    .thenHolds(put('rows', ['b-2'], { owner: 'Bob' }));
});

test('an event that cannot be read is parked, and others go on', async () => {
  await projection(names)
    .when(
      created(...event('account-a', 1, 'opened', { owner: 7 })),
      created(...event('account-a', 2, 'robbed', {})),
      created(...event('account-b', 1, 'opened', { owner: 'Bob' })),
    )
    .thenParks(
      [
        { unit: `source events [${position - 2}]`, code: 'PROJECTION_FAILED' },
        { unit: `source events [${position - 1}]`, code: 'PROJECTION_FAILED' },
      ],
      put('rows', ['b'], { owner: 'Bob' }),
    );
});

test('the state of an aggregate, by its own evolve, is a row; old versions and names are brought up', async () => {
  const balances = views({
    fold: projectState(account, ({ cents, open }, { id, version, atMs }) =>
      open ? put('rows', [id], { cents, version, known: atMs > 0 }) : remove('rows', [id]),
    ),
  });
  await projection(balances)
    .given(existing(...event('account-a', 1, 'opened', { owner: 'Ada' })))
    .when(
      created(...event('account-a', 2, 'deposited', { cents: 5 })),
      created(
        ...event('account-a', 3, 'deposited', { cents: 5, currency: 'USD' }, { schemaVersion: 2 }),
      ),
      created(...event('account-b', 1, 'opened', { owner: 'Bob' })),
    )
    .when(
      created(...event('account-a', 4, 'taken', { cents: 3 })),
      created(...event('account-b', 2, 'closed', {})),
      created(...event('note-1', 1, 'noted', {})),
    )
    .thenHolds(put('rows', ['a'], { cents: 7, version: 4, known: true }));
});

test('a state is never made without one of its events: those behind a parked one are parked too', async () => {
  const balances = views({
    fold: projectState(account, ({ cents }, { id, version }) =>
      put('rows', [id], { cents, version }),
    ),
  });
  await projection(balances)
    .when(created(...event('account-a', 1, 'opened', { owner: 'Ada' })))
    .when(
      created(...event('account-a', 2, 'robbed', {})),
      created(...event('account-b', 1, 'opened', { owner: 'B' })),
    )
    .when(created(...event('account-a', 3, 'deposited', { cents: 5 })))
    .thenParks(
      [
        { unit: `source events [${position - 2}]`, code: 'PROJECTION_FAILED' },
        { unit: `source events [${position}]`, code: 'PROJECTION_FAILED' },
      ],
      put('rows', ['a'], { cents: 0, version: 1 }),
      put('rows', ['b'], { cents: 0, version: 1 }),
    );
});

test('a state that is no value is kept as its snapshot policy says', async () => {
  type Tags = {
    command: never;
    state: ReadonlySet<string>;
    event: { type: 'tagged'; data: string };
  };
  const tags = decider<Tags>({
    category: 'tags',
    initial: new Set<string>(),
    decide: () => [],
    evolve: (known, { data }) => new Set([...known, data]),
    events: { tagged: {} },
    snapshot: {
      every: 10,
      version: 1,
      encode: (known) => [...known],
      decode: (kept) => new Set(kept as readonly string[]),
    },
  });
  const counts = views({
    fold: projectState(tags, (known, { id }) => put('rows', [id], { size: known.size })),
  });
  let version = 0;
  const tag = (text: string): [string, [number], Row] =>
    event('tags-t', (version += 1), 'tagged', {}, { data: text });
  await projection(counts)
    .when(created(...tag('a')), created(...tag('b')))
    .when(created(...tag('a')))
    .thenHolds(put('rows', ['t'], { size: 2 }));
});

test('a fold with a state of its own sums over many aggregates', async () => {
  const total = views({
    fold: foldEvents(account, {
      reads: () => ['total'],
      apply: async ({ type, data }, { correlationId }, state) => {
        if (type !== 'deposited') return undefined;
        const cents = Number((await state.get('total')) ?? 0) + data.cents;
        state.set('total', cents);
        return put('rows', ['total'], { cents, correlated: correlationId ?? null });
      },
    }),
  });
  await projection(total)
    .when(
      created(...event('account-a', 2, 'deposited', { cents: 5 })),
      created(...event('note-1', 1, 'deposited', { cents: 100 })),
    )
    .when(created(...event('account-b', 2, 'deposited', { cents: 7 }, { correlationId: 'c' })))
    .thenHolds(put('rows', ['total'], { cents: 12, correlated: 'c' }));
});

test('a schema that answers later cannot be waited for: the change is parked', async () => {
  const slow = decider<{ command: never; state: null; event: { type: 'noted'; data: object } }>({
    category: 'note',
    initial: null,
    decide: () => [],
    evolve: () => null,
    events: { noted: { schema: z.object({}).refine(async () => Promise.resolve(true)) } },
  });
  const outcome = await projection(
    views({ project: projectEvents(slow, { noted: () => put('rows', [1], {}) }) }),
  )
    .when(created(...event('note-1', 1, 'noted', {})))
    .run();
  expect(outcome).toMatchObject({ rows: [], parked: [{ code: 'PROJECTION_FAILED' }] });
  expect(outcome.parked[0]?.message).toContain('answers later');
});
