import { open } from '../../app/open.ts';
import type { Command } from '../command.ts';
import { statusText } from '../status-text.ts';

const EVERY_MS = 1_000;
/** Home, and clear what is below. */
const CLEAR = '\u001b[H\u001b[2J';

/** `tally up`: runs the flows of an application until it is stopped. */
export const upCommand: Command = {
  usage: 'tally up APP.ts',
  about:
    'Run the captures and flows until stopped (Ctrl-C); with --json a status line each second.',
  options: {},
  rest: { min: 0, max: 0 },
  run: async (call, { out, say, screen, clock, signal }) => {
    const app = await call.app();
    await using running = await open(app, { clock });
    say(`${app.name} is up: ${Object.keys(app.flows).length} flows. Stop it with Ctrl-C.`);
    let failed = false;
    while (!signal.aborted) {
      await clock.sleep(EVERY_MS, signal).catch(() => undefined);
      const status = await running.status();
      if (call.json) out(JSON.stringify(status));
      else out(`${screen ? CLEAR : ''}${statusText(status)}\n`);
      failed = [...status.lanes, ...status.flows].some(({ worker }) => worker.kind === 'failed');
    }
    say('stopping at the next batch boundaries');
    return failed ? 1 : 0;
  },
};
