import type { TallyApp } from '../../app/definition.ts';
import { TallyError } from '../../core/errors.ts';
import { listParked, unitName, type ParkedChange } from '../../flow/parked.ts';
import type { Ledger } from '../../ports/ledger.ts';
import type { Command } from '../command.ts';
import { requestOfWorker, withinOption, withLedger } from '../ledger.ts';
import { nameOf } from '../names.ts';
import { table } from '../table.ts';

/** `tally parked`: what a person must look at; retrying and dropping it. */
export const parkedCommand: Command = {
  usage: 'tally parked APP.ts [FLOW]',
  about:
    'List parked changes; with --retry, --retry-all or --drop have the worker take them up again or forget them.',
  options: {
    retry: { takes: 'UNIT', about: 'apply the changes of this unit again, in order' },
    'retry-all': { about: 'apply everything parked again' },
    drop: { takes: 'UNIT', about: 'forget the changes of this unit: they will never be applied' },
    ...withinOption,
  },
  rest: { min: 0, max: 1 },
  run: async (call, terminal) => {
    const app = await call.app();
    const flows = flowsOf(app, call.rest[0]);
    return withLedger(app, async (ledger) => {
      const { retry, drop } = call.options;
      const asked = [retry, call.options['retry-all'], drop].filter(
        (option) => option !== undefined,
      );
      if (asked.length === 0) return list(ledger, flows, call.json, terminal.out);
      const [flow] = flows;
      if (asked.length > 1 || flow === undefined || call.rest.length === 0)
        throw new TallyError('CONFIG_INVALID', {
          what: 'one flow and one of --retry, --retry-all, --drop are needed',
          mend: 'name the flow after the file',
        });
      const request =
        typeof drop === 'string'
          ? ({ kind: 'drop-parked', unit: drop } as const)
          : ({
              kind: 'retry-parked',
              unit: typeof retry === 'string' ? retry : undefined,
            } as const);
      const done = await requestOfWorker(call, ledger, { of: 'flow', flow, request }, terminal);
      if (call.json) terminal.out(JSON.stringify({ flow, done: done ?? null }));
      else if (done !== undefined)
        terminal.out(
          `${flow}: ${done} changes ${typeof drop === 'string' ? 'dropped' : 'applied'}`,
        );
      return done === undefined ? 1 : 0;
    });
  },
};

function flowsOf(app: TallyApp, named: string | undefined): readonly string[] {
  const names = Object.keys(app.flows);
  if (named === undefined) return names;
  return [nameOf('flow', named, names)];
}

async function list(
  ledger: Ledger,
  flows: readonly string[],
  json: boolean,
  out: (text: string) => void,
): Promise<number> {
  const found: (ParkedChange & { readonly flow: string })[] = [];
  for (const flow of flows) {
    for (const change of await listParked(ledger, flow)) found.push({ flow, ...change });
  }
  if (json)
    out(
      JSON.stringify({
        parked: found.map((change) => ({ ...change, unit: unitName(change.unit) })),
      }),
    );
  else if (found.length === 0) out('nothing is parked');
  else
    out(
      table([
        ['flow', 'unit', 'change', 'why'],
        ...found.map((change) => [
          change.flow,
          unitName(change.unit),
          `${change.epoch}.${change.offset}.${change.ordinal}`,
          change.error === undefined
            ? 'queued behind the one above'
            : `${change.error.code}: ${change.error.message.slice(0, 120)}`,
        ]),
      ]),
    );
  return 0;
}
