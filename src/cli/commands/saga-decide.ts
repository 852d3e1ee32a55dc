import { userInfo } from 'node:os';
import { TallyError } from '../../core/errors.ts';
import { checkOneOf } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import type { Ledger } from '../../ports/ledger.ts';
import type { SagaOperation } from '../../patterns/saga/index.ts';
import { SagaEngine } from '../../patterns/saga/index.ts';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import type { Call, Command } from '../command.ts';
import { withLedger } from '../ledger.ts';

const about: Readonly<Record<SagaOperation, string>> = {
  retry: 'Try the step of a parked saga again, with all its attempts.',
  skip: 'Go on with a parked saga without its step, or without undoing it.',
  mark: 'Say what a person found out or did: that the step of a parked saga took effect, or did not, or is undone.',
  abandon: 'End a parked saga as it is. Nothing of it is undone.',
};

/** `tally saga retry|skip|mark|abandon`: a person decides about a parked saga. */
export function sagaDecideCommand(operation: SagaOperation): Command {
  return {
    usage: `tally saga ${operation} APP.ts ID --reason TEXT`,
    about: `${about[operation]} Who, when and why stand in its history.`,
    options: {
      reason: { takes: 'TEXT', about: 'why; needed' },
      by: { takes: 'NAME', about: 'who decides (default: the user of this shell)' },
      ...(operation === 'mark'
        ? {
            took: {
              takes: 'effect|none',
              about: 'whether the step took effect (default effect)',
            },
            result: { takes: 'JSON', about: 'what the step would have returned' },
          }
        : {}),
    },
    rest: { min: 1, max: 1 },
    run: async (call, terminal) => {
      const app = await call.app();
      const id = String(call.rest[0]);
      const reason = text(call, 'reason');
      if (reason === undefined)
        throw new TallyError('CONFIG_INVALID', {
          what: '--reason is missing',
          mend: 'say why: it stands in the history of the saga',
        });
      const took = text(call, 'took');
      const result = text(call, 'result');
      return withLedger(app, async (ledger) => {
        const engine = engineOn(ledger);
        await engine.decide(id, {
          operation,
          by: text(call, 'by') ?? userInfo().username,
          reason,
          ...(took === undefined ? {} : { took: checkOneOf(took, '--took', ['effect', 'none']) }),
          ...(result === undefined ? {} : { result: parse(result) }),
        });
        if (call.json) terminal.out(JSON.stringify({ id, operation }));
        else
          terminal.out(
            operation === 'abandon'
              ? `${id} is abandoned as it is`
              : `${id} goes on: its worker takes it up within a second, or when one runs`,
          );
        return 0;
      });
    },
  };
}

/** `tally saga cancel`: asks a saga to go back. */
export const sagaCancelCommand: Command = {
  usage: 'tally saga cancel APP.ts ID --reason TEXT',
  about:
    'Ask a saga to go back. One that is past its point of no return goes on, and says so in its history.',
  options: { reason: { takes: 'TEXT', about: 'why (default: by hand)' } },
  rest: { min: 1, max: 1 },
  run: async (call, terminal) => {
    const app = await call.app();
    const id = String(call.rest[0]);
    return withLedger(app, async (ledger) => {
      const engine = engineOn(ledger);
      await engine.cancel(id, text(call, 'reason') ?? 'by hand');
      if (call.json) terminal.out(JSON.stringify({ id, operation: 'cancel' }));
      else terminal.out(`${id} is asked to go back; tally saga show says what became of it`);
      return 0;
    });
  },
};

/** What decides and asks, and runs nothing. */
function engineOn(ledger: Ledger): SagaEngine {
  return new SagaEngine({
    ledger,
    clock: systemClock,
    random: systemRandom,
    owner: '',
    isDead: () => false,
    definitions: [],
    run: false,
  });
}

function text(call: Call, name: string): string | undefined {
  const given = call.options[name];
  return typeof given === 'string' ? given : undefined;
}

function parse(given: string): Value {
  try {
    return JSON.parse(given) as Value;
  } catch (cause) {
    throw new TallyError('CONFIG_INVALID', {
      what: '--result is no JSON',
      mend: `quote it for the shell: --result '{"receipt":"r-1"}'`,
      cause,
    });
  }
}
