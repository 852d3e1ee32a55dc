import { tally, type StoreDefinition, type TallyApp } from 'tallystick';
import { aggregates } from 'tallystick/events';
import { createMemoryState, memory } from 'tallystick/memory';
import { systemClock } from '../../src/runtime/clock.ts';
import { seededRandom } from '../../src/runtime/random.ts';
import { accountDecider } from './account.ts';

// An application with a little history, for the command line: two accounts, one of them emptied and closed.

const state = createMemoryState();
const bank = memory({ state, capture: 'events' });
const account = accountDecider();

const random = seededRandom(7);
await using open = await bank.open({ name: 'bank', clock: systemClock, random });
const accounts = aggregates(account, { events: open.events, random });
await accounts.handle('ada', { kind: 'open', owner: 'Ada' });
await accounts.handle('ada', { kind: 'deposit', cents: 500 });
await open.events.append('account-ada', [{ type: 'deposited', data: { cents: 7 } }]);
await accounts.handle('ada', { kind: 'withdraw', cents: 107 });
await accounts.handle('bob', { kind: 'open', owner: 'Bob' });
await accounts.handle('bob', { kind: 'close' });
await open.events.append('note-1', [{ type: 'noted', data: { text: 'no decider knows this' } }]);

/** A store of another kind: it has no events. */
const views: StoreDefinition = {
  system: 'memory',
  open: async (context) => {
    const { events: _none, ...store } = await memory().open(context);
    return store;
  },
};

const app: TallyApp = tally({
  name: 'accounts',
  stores: { bank, views },
  deciders: { bank: [account] },
});
export { app as default };
