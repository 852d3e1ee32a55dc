import type { Command } from '../command.ts';
import { requestOfWorker, withinOption, withLedger } from '../ledger.ts';
import { nameOf } from '../names.ts';

/** `tally rebuild`: builds one projection anew beside the running one, then switches readers to it. */
export const rebuildCommand: Command = {
  usage: 'tally rebuild APP.ts FLOW',
  about: 'Build a flow’s targets anew beside the running ones, then switch readers over.',
  options: withinOption,
  rest: { min: 1, max: 1 },
  run: async (call, terminal) => {
    const app = await call.app();
    const flow = nameOf('flow', call.rest[0] ?? '', Object.keys(app.flows));
    return withLedger(app, async (ledger) => {
      const generation = await requestOfWorker(
        call,
        ledger,
        { of: 'flow', flow, request: { kind: 'rebuild' } },
        terminal,
      );
      if (call.json) terminal.out(JSON.stringify({ flow, generation: generation ?? null }));
      else if (generation !== undefined)
        terminal.out(`${flow}: readers now see generation ${generation}`);
      return generation === undefined ? 1 : 0;
    });
  },
};
