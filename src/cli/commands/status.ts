import { STATUS_SPACE, type AppStatus } from '../../app/status.ts';
import { isDeadProcess } from '../../runtime/owner.ts';
import type { Command } from '../command.ts';
import { withLedger } from '../ledger.ts';
import { statusText } from '../status-text.ts';

/** A worker leaves its status twice a second; one that is older than this has trouble. */
const FRESH_MS = 3_000;

/** `tally status`: what the workers last said, from the ledger. */
export const statusCommand: Command = {
  usage: 'tally status APP.ts',
  about:
    'Show every boundary as its worker last reported it. Exits with 1 if no worker runs or one needs a person.',
  options: {},
  rest: { min: 0, max: 0 },
  run: async (call, { out, clock }) =>
    withLedger(await call.app(), async (ledger) => {
      const records = await ledger.list(STATUS_SPACE);
      const workers = records
        .map(({ value }) => JSON.parse(value) as AppStatus)
        .map((status) => ({
          ...status,
          ageMs: clock.nowMs() - status.atMs,
          alive: !isDeadProcess(status.owner),
        }))
        .filter((status, _, all) => status.alive || all.every((other) => !other.alive));
      const newest = workers.toSorted((left, right) => left.ageMs - right.ageMs);
      const running = newest.some(({ alive, ageMs }) => alive && ageMs <= FRESH_MS);
      if (call.json) {
        out(JSON.stringify({ running, workers: newest }));
      } else if (newest.length === 0) {
        out('no worker has run yet; tally up starts one');
      } else {
        for (const status of newest) out(`${headline(status)}\n${statusText(status)}`);
      }
      const failed = newest.some(({ lanes, flows }) =>
        [...lanes, ...flows].some(({ worker }) => worker.kind === 'failed'),
      );
      return running && !failed ? 0 : 1;
    }),
};

function headline(status: AppStatus & { readonly ageMs: number; readonly alive: boolean }): string {
  const age = `${Math.round(status.ageMs / 100) / 10} s ago`;
  return status.alive
    ? `${status.app}, as of ${age}`
    : `${status.app}: its worker is gone; as of ${age}`;
}
