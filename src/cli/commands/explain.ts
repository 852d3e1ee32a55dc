import type { OpenApp } from '../../app/open-app.ts';
import { open } from '../../app/open.ts';
import { TallyError } from '../../core/errors.ts';
import { checkNumber } from '../../core/options.ts';
import type { Join, Lookups } from '../../patterns/compose/join.ts';
import { explainText, type JoinPlan } from '../../patterns/compose/join-plan.ts';
import type { JoinReport } from '../../patterns/compose/join-run.ts';
import type { Call, Command } from '../command.ts';
import { nameOf } from '../names.ts';
import { table } from '../table.ts';

type AnyJoin = Join<unknown, Lookups<unknown>>;

interface Explained {
  readonly plan: JoinPlan;
  /** Only with --run, and only of what is not refused. */
  readonly report?: JoinReport;
}

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1_000_000;

/** `tally explain`: what the joins of an application do in each store. */
export const explainCommand: Command = {
  usage: 'tally explain APP.ts [JOIN]',
  about:
    'Show what joins across stores do, by store, and what to build instead of one that is too large.',
  options: {
    limit: { takes: 'ROWS', about: `rows that are asked for, ${LIMIT_DEFAULT} if not given` },
    run: { about: 'run them as well, and show the calls and rows that they took' },
  },
  rest: { min: 0, max: 1 },
  run: async (call, { out }) => {
    const limit = limitOf(call);
    const { app, exported } = await call.module();
    const declare = exported['joins'];
    if (typeof declare !== 'function') throw noJoins();
    await using running = await open(app, { run: false });
    const joins = (await (declare as (app: OpenApp) => unknown)(running)) as Readonly<
      Record<string, AnyJoin>
    >;
    const names = Object.keys(joins);
    const [named] = call.rest;
    const wanted = named === undefined ? names : [nameOf('join', named, names)];
    const all: Explained[] = [];
    for (const name of wanted) {
      const join = joins[name];
      if (join !== undefined) all.push(await explained(join, limit, call.options['run'] === true));
    }
    if (call.json) out(JSON.stringify({ joins: all }));
    else for (const one of all) out(textOf(one));
    return all.some(({ plan }) => plan.refused !== undefined) ? 1 : 0;
  },
};

async function explained(join: AnyJoin, limit: number, isRun: boolean): Promise<Explained> {
  const plan = join.explain({ limit });
  if (!isRun || plan.refused !== undefined) return { plan };
  const rows = join.rows({ limit });
  await rows.all();
  return { plan, report: rows.report() };
}

function textOf({ plan, report }: Explained): string {
  const text = explainText(plan);
  if (report === undefined) return `${text}\n`;
  const costs = report.costs.map(({ store, name, calls, rows, found, tookMs }) => [
    `  ${store}`,
    name,
    `${calls} calls`,
    `${rows} asked for`,
    `${found} found`,
    `${Math.round(tookMs * 10) / 10} ms`,
  ]);
  return `${text}\n  took, for ${report.rows} rows (${report.dropped} dropped):\n${table(costs)}\n`;
}

function limitOf({ options }: Call): number {
  const { limit } = options;
  const given = limit === undefined ? LIMIT_DEFAULT : Number(limit);
  return checkNumber(given, '--limit', { min: 1, max: LIMIT_MAX, integer: true });
}

function noJoins(): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: 'the file exports no joins',
    mend: 'write: export const joins = (app) => ({ recentOrders: join({ … }) })',
  });
}
