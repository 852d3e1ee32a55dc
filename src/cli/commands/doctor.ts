import type { TallyApp } from '../../app/definition.ts';
import { errorText, isTallyError } from '../../core/errors.ts';
import type { Finding, StoreUse } from '../../ports/diagnose.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import type { Command } from '../command.ts';
import { nameOf } from '../names.ts';

/** What was found at one store. */
interface Examined {
  readonly store: string;
  readonly system: string;
  readonly findings: readonly Finding[];
}

/** `tally doctor`: what stands in the way, and what mends it. */
export const doctorCommand: Command = {
  usage: 'tally doctor APP.ts [STORE]',
  about:
    'Look whether each store has the settings and rights that the application needs. Exits with 1 if something does not work.',
  options: {},
  rest: { min: 0, max: 1 },
  run: async (call, { out }) => {
    const app = await call.app();
    const names = Object.keys(app.stores);
    const [named] = call.rest;
    const stores: Examined[] = [];
    for (const store of named === undefined ? names : [nameOf('store', named, names)]) {
      const examined = await examine(app, store);
      stores.push(examined);
      if (!call.json) out(examinedText(examined));
    }
    const failed = stores.some(({ findings }) => findings.some(({ level }) => level === 'fail'));
    if (call.json) out(JSON.stringify({ healthy: !failed, stores }));
    return failed ? 1 : 0;
  },
};

/** What the flows of an application ask of a store. */
function useOf({ flows }: TallyApp, store: string): StoreUse {
  const of = Object.values(flows);
  return {
    tables: [...new Set(of.flatMap(({ from, tables }) => (from === store ? tables : [])))],
    targets: [...new Set(of.flatMap(({ to, into }) => (to === store ? into : [])))],
  };
}

/** Opens one store by itself: no flow runs and nothing is prepared. */
async function examine(app: TallyApp, store: string): Promise<Examined> {
  const definition = app.stores[store];
  const system = definition?.system ?? 'unknown';
  try {
    await using open = await definition?.open({
      name: store,
      clock: systemClock,
      random: systemRandom,
    });
    const findings = (await open?.diagnose?.(useOf(app, store))) ?? [
      { level: 'ok', check: 'opens', found: 'there is nothing else to check' } as const,
    ];
    return { store, system, findings };
  } catch (error) {
    return { store, system, findings: [failure(error)] };
  }
}

/** A store that cannot be opened or asked: its error, taken apart into what was found and what mends it. */
function failure(error: unknown): Finding {
  const [found = '', mend] = errorText(error).split(' To mend it: ');
  return {
    level: 'fail',
    check: 'opens',
    found: `${isTallyError(error) ? error.code : 'INTERNAL'}: ${found.replace(/\.$/, '')}`,
    ...(mend === undefined ? {} : { remedy: mend.replace(/\.$/, '') }),
  };
}

function examinedText({ store, system, findings }: Examined): string {
  const lines = findings.map(({ level, check, found, remedy }) => {
    const line = `  ${level.padEnd(4)}  ${check}: ${found}`;
    return remedy === undefined ? line : `${line}\n        ${remedy}`;
  });
  return `${store} (${system})\n${lines.join('\n')}\n`;
}
