import type { Command } from '../command.ts';
import { requestOfWorker, withinOption, withLedger } from '../ledger.ts';

/** `tally rebuild`: builds one projection anew beside the running one, then switches readers to it. */
export const rebuildCommand: Command = {
  usage: 'tally rebuild APP.ts FLOW',
  about: 'Build a flow’s targets anew beside the running ones, then switch readers over.',
  options: withinOption,
  rest: { min: 1, max: 1 },
  run: async (call, terminal) =>
    withLedger(await call.app(), async (ledger) => {
      const [flow = ''] = call.rest;
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
    }),
};
