import { z } from 'zod';
import { unreachable } from '../../src/core/errors.ts';
import { decider, refuse, type Decider } from 'tallystick/events';

/** A small aggregate for tests: everything a decider can have. */
export type AccountTypes = {
  readonly command:
    | { readonly kind: 'open'; readonly owner: string }
    | { readonly kind: 'deposit'; readonly cents: number }
    | { readonly kind: 'withdraw'; readonly cents: number }
    | { readonly kind: 'close' };
  readonly state: { readonly open: boolean; readonly cents: number; readonly moves: number };
  readonly event:
    | { readonly type: 'opened'; readonly data: { readonly owner: string } }
    | {
        readonly type: 'deposited';
        readonly data: { readonly cents: number; readonly currency: string };
      }
    | { readonly type: 'withdrawn'; readonly data: { readonly cents: number } }
    | { readonly type: 'closed'; readonly data: Record<string, never> };
};

const cents = z.number().int().positive();

/** What tests change of it. */
export interface AccountOptions {
  readonly snapshot?: { readonly every: number; readonly version: number };
}

/** Version 1 of `deposited` had no currency; version 1 of `withdrawn` was named `taken`. */
export function accountDecider({ snapshot }: AccountOptions = {}): Decider<AccountTypes> {
  return decider<AccountTypes>({
    category: 'account',
    initial: { open: false, cents: 0, moves: 0 },
    decide: (command, state) => {
      if (command.kind === 'open')
        return state.open ? [] : [{ type: 'opened', data: { owner: command.owner } }];
      if (!state.open) throw refuse('not-open', 'the account is not open');
      switch (command.kind) {
        case 'deposit':
          return [{ type: 'deposited', data: { cents: command.cents, currency: 'EUR' } }];
        case 'withdraw':
          if (command.cents > state.cents)
            throw refuse('insufficient-funds', 'there is not enough on the account', {
              cents: state.cents,
            });
          return [{ type: 'withdrawn', data: { cents: command.cents } }];
        case 'close':
          return state.cents === 0
            ? [{ type: 'closed', data: {} }]
            : [
                { type: 'withdrawn', data: { cents: state.cents } },
                { type: 'closed', data: {} },
              ];
        default:
          return unreachable(command);
      }
    },
    evolve: (state, event) => {
      const moves = state.moves + 1;
      switch (event.type) {
        case 'opened':
          return { ...state, open: true, moves };
        case 'deposited':
          return { ...state, cents: state.cents + event.data.cents, moves };
        case 'withdrawn':
          return { ...state, cents: state.cents - event.data.cents, moves };
        case 'closed':
          return { ...state, open: false, moves };
        default:
          return unreachable(event);
      }
    },
    events: {
      opened: { schema: z.object({ owner: z.string().min(1) }) },
      deposited: {
        version: 2,
        schema: z.object({ cents, currency: z.string() }),
        upcast: { 1: (data: { readonly cents: number }) => ({ ...data, currency: 'EUR' }) },
      },
      withdrawn: { schema: z.object({ cents }), formerly: ['taken'] },
      closed: {},
    },
    command: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('open'), owner: z.string().min(1) }),
      z.object({ kind: z.literal('deposit'), cents }),
      z.object({ kind: z.literal('withdraw'), cents }),
      z.object({ kind: z.literal('close') }),
    ]),
    ...(snapshot === undefined ? {} : { snapshot }),
  });
}
