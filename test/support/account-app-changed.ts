import { tally, type TallyApp } from 'tallystick';
import { decider } from 'tallystick/events';
import { memory } from 'tallystick/memory';
import { accountDecider, type AccountTypes } from './account.ts';

// The same application with a decider that takes a fee of a cent for each withdrawal, and has forgotten how accounts close.

const account = accountDecider();
const changed = decider<
  Omit<AccountTypes, 'event'> & { event: Exclude<AccountTypes['event'], { type: 'closed' }> }
>({
  category: 'account',
  initial: account.initial,
  decide: () => [],
  evolve: (state, event) => {
    const next = account.evolve(state, event);
    return event.type === 'withdrawn' ? { ...next, cents: next.cents - 1 } : next;
  },
  events: {
    opened: {},
    deposited: { version: 2, upcast: { 1: (data) => ({ ...(data as object), currency: 'EUR' }) } },
    withdrawn: {},
  },
});

const app: TallyApp = tally({
  name: 'accounts',
  stores: { bank: memory({ capture: 'events' }) },
  deciders: { bank: [changed] },
});
export { app as default };
