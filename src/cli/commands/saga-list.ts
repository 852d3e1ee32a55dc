import { TallyError } from '../../core/errors.ts';
import { checkNumber } from '../../core/options.ts';
import { Registry } from '../../patterns/saga/registry.ts';
import { listSagas, type ListOptions, showSaga, type SagaView } from '../../patterns/saga/view.ts';
import type { Call, Command, Terminal } from '../command.ts';
import { withLedger } from '../ledger.ts';
import { table } from '../table.ts';

/** `tally saga list`: the sagas of an application, a page at a time. */
export const sagaListCommand: Command = {
  usage: 'tally saga list APP.ts',
  about: 'List sagas: how each stands, and whether the application still has its definition.',
  options: {
    status: {
      takes: 'STATUS',
      about: 'ready, running, waiting, compensating, parked, completed, compensated, abandoned',
    },
    saga: { takes: 'NAME', about: 'only those of this definition' },
    after: { takes: 'ID', about: 'only ids after this one: the last of the page before' },
    limit: { takes: 'NUMBER', about: 'at most so many (default 100)' },
  },
  rest: { min: 0, max: 0 },
  run: async (call, terminal) => {
    const app = await call.app();
    const registry = new Registry(app.sagas.definitions);
    return withLedger(app, async (ledger) => {
      const found = (await listSagas(ledger, listOptions(call))).map((saga) => ({
        ...saga,
        definition: registry.find(saga).kind,
      }));
      if (call.json) terminal.out(JSON.stringify({ sagas: found }));
      else if (found.length === 0) terminal.out('no sagas');
      else
        terminal.out(
          table([
            ['id', 'saga', 'version', 'status', 'changed', 'definition'],
            ...found.map(({ id, saga, version, status, changedAtMs, definition }) => [
              id,
              saga,
              version,
              status,
              time(changedAtMs),
              definition,
            ]),
          ]),
        );
      return 0;
    });
  },
};

/** `tally saga show`: one saga with everything that happened to it. */
export const sagaShowCommand: Command = {
  usage: 'tally saga show APP.ts ID',
  about: 'Show one saga: its input, how it stands, and its history with the decisions about it.',
  options: {},
  rest: { min: 1, max: 1 },
  run: async (call, terminal) => {
    const app = await call.app();
    return withLedger(app, async (ledger) => {
      const view = await showSaga(ledger, String(call.rest[0]));
      if (call.json) terminal.out(jsonText(view));
      else show(view, terminal);
      return 0;
    });
  },
};

function listOptions(call: Call): ListOptions {
  const { status, saga, after, limit } = call.options;
  return {
    ...(typeof status === 'string' ? { status: status as NonNullable<ListOptions['status']> } : {}),
    ...(typeof saga === 'string' ? { saga } : {}),
    ...(typeof after === 'string' ? { after } : {}),
    ...(typeof limit === 'string'
      ? { limit: checkNumber(Number(limit), '--limit', { min: 1, integer: true }) }
      : {}),
  };
}

function show(view: SagaView, { out }: Terminal): void {
  out(`${view.id}: ${view.saga} version ${view.version}, ${view.status}`);
  out(`started ${time(view.startedAtMs)}, input ${jsonText(view.input)}`);
  const { outcome } = view;
  if (outcome.status === 'parked')
    out(
      `needs a decision: ${outcome.during === 'do' ? 'step' : 'undo of step'} ${outcome.path}: ${outcome.error.message}`,
    );
  out('');
  out(
    table(
      view.history.map(({ atMs, kind, ...rest }) => [
        time(atMs),
        kind,
        jsonText(rest).slice(0, 200),
      ]),
    ),
  );
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

/** As JSON; what JSON lacks as text. */
function jsonText(value: unknown): string {
  try {
    return (
      JSON.stringify(value, (_, item: unknown) =>
        typeof item === 'bigint'
          ? String(item)
          : item instanceof Uint8Array
            ? Buffer.from(item).toString('base64')
            : item,
      ) ?? 'none'
    );
  } catch (cause) {
    throw new TallyError('INTERNAL', { what: 'a saga cannot be shown', cause });
  }
}
