import type { Command } from '../command.ts';
import { requestOfWorker, withinOption, withLedger } from '../ledger.ts';
import { nameOf } from '../names.ts';

/** `tally resnapshot`: takes up a store's present history as a new epoch and compares every row. */
export const resnapshotCommand: Command = {
  usage: 'tally resnapshot APP.ts STORE',
  about:
    'After HISTORY_LOST: accept a store’s present history as a new epoch; its flows compare every row.',
  options: withinOption,
  rest: { min: 1, max: 1 },
  run: async (call, terminal) => {
    const app = await call.app();
    const captured = new Set(Object.values(app.flows).map(({ from }) => from));
    const lane = nameOf('captured store', call.rest[0] ?? '', [...captured]);
    return withLedger(app, async (ledger) => {
      const epoch = await requestOfWorker(
        call,
        ledger,
        { of: 'lane', lane, request: 'resnapshot' },
        terminal,
      );
      if (call.json) terminal.out(JSON.stringify({ store: lane, epoch: epoch ?? null }));
      else if (epoch !== undefined)
        terminal.out(
          `${lane}: epoch ${epoch} begins; tally status shows the flows comparing their rows`,
        );
      return epoch === undefined ? 1 : 0;
    });
  },
};
