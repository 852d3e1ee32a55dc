import { put, remove, type Fold, type RowProjection } from 'tallystick';
import { foldEvents, projectEvents, projectState } from 'tallystick/events';
import { accountDecider, type AccountEvent } from './account.ts';

// What the read models are made of: pure functions from events, brought up to the types of today.

/** One row for each account: its state, by the decider's own rules. */
export const balances: Fold = projectState(
  accountDecider,
  ({ status, owner, cents }, { id, version }) =>
    status === 'none'
      ? undefined
      : put('balances', [id], { account: id, status, owner, cents, version }),
);

/** Who has an open account, to be found by name. */
export const names: RowProjection = projectEvents(accountDecider, {
  opened: ({ data }, { id }) => put('names', [id], { owner: data.owner }),
  closed: (_event, { id }) => remove('names', [id]),
});

/** Who paid whom: an edge for each pair of accounts, with how often and how much. */
export const payments: Fold = foldEvents(accountDecider, {
  reads: (event, { id }) => (event.type === 'received' ? [edgeName(event.data.from, id)] : []),
  apply: async (event, { id }, state) => {
    if (event.type !== 'received') return undefined;
    const { from, cents } = event.data;
    const name = edgeName(from, id);
    const known = ((await state.get(name)) ?? { times: 0, cents: 0 }) as {
      times: number;
      cents: number;
    };
    const now = { times: known.times + 1, cents: known.cents + cents };
    state.set(name, now);
    return put('payments', [from, id], { kind: 'paid', from, to: id, ...now });
  },
});

function edgeName(from: string, to: string): string {
  return JSON.stringify([from, to]);
}

/** Every movement of money as a fact of the reports. */
export const movements: RowProjection = projectEvents(accountDecider, {
  deposited: (event, at) => movement(event, at, event.data.cents),
  received: (event, at) => movement(event, at, event.data.cents),
  'took-back': (event, at) => movement(event, at, event.data.cents),
  withdrawn: (event, at) => movement(event, at, -event.data.cents),
  sent: (event, at) => movement(event, at, -event.data.cents),
});

function movement(
  { type }: AccountEvent,
  { id, version, atMs }: { readonly id: string; readonly version: number; readonly atMs: number },
  cents: number,
): ReturnType<typeof put> {
  return put('movements', [id, version], { account: id, version, kind: type, cents, atMs });
}
