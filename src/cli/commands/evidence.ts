import { errorText, isTallyError } from '../../core/errors.ts';
import type { Vitals } from '../../ports/vitals.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import type { Command } from '../command.ts';
import { nameOf } from '../names.ts';
import { table } from '../table.ts';

/** `tally evidence`: what each store says of itself. */
export const evidenceCommand: Command = {
  usage: 'tally evidence APP.ts [STORE]',
  about:
    'Show each store’s own evidence: positions, log and file sizes, what it retains, in its own words.',
  options: {},
  rest: { min: 0, max: 1 },
  run: async (call, { out }) => {
    const app = await call.app();
    const names = Object.keys(app.stores);
    const [named] = call.rest;
    const answers: { store: string; vitals?: Vitals; error?: { code: string; message: string } }[] =
      [];
    for (const store of named === undefined ? names : [nameOf('store', named, names)]) {
      try {
        const definition = app.stores[store];
        if (definition === undefined) continue;
        await using open = await definition.open({
          name: store,
          clock: systemClock,
          random: systemRandom,
        });
        answers.push({ store, vitals: await open.vitals() });
      } catch (error) {
        // One store that is locked or down is no reason to be silent about the others.
        answers.push({
          store,
          error: { code: isTallyError(error) ? error.code : 'INTERNAL', message: errorText(error) },
        });
      }
    }
    if (call.json) out(JSON.stringify({ stores: answers }));
    else
      for (const { store, vitals, error } of answers)
        out(
          vitals === undefined
            ? `${store}: ${error?.code}: ${error?.message}\n`
            : vitalsText(store, vitals),
        );
    return answers.some(({ error }) => error !== undefined) ? 1 : 0;
  },
};

function vitalsText(store: string, vitals: Vitals): string {
  const rows = vitals.measures.map(({ name, value, unit, about }) => [
    `  ${name}`,
    value,
    unit ?? '',
    about ?? '',
  ]);
  return `${store} (${vitals.system} ${vitals.version})\n${table(rows)}\n`;
}
