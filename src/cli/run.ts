import { parseArgs } from 'node:util';
import { errorText, isTallyError, TallyError } from '../core/errors.ts';
import { suggest } from '../core/options.ts';
import type { Call, Command, Terminal } from './command.ts';
import { adviseCommand } from './commands/advise.ts';
import { checkCommand } from './commands/check.ts';
import {
  cacheGetCommand,
  cacheInvalidateCommand,
  cacheWarmCommand,
} from './commands/cache-keys.ts';
import { cacheStatsCommand } from './commands/cache-stats.ts';
import { doctorCommand } from './commands/doctor.ts';
import { eventsDiffCommand } from './commands/events-diff.ts';
import { eventsReplayCommand, eventsShowCommand } from './commands/events-show.ts';
import { eventsTailCommand } from './commands/events-tail.ts';
import { drawCommand } from './commands/draw.ts';
import { evidenceCommand } from './commands/evidence.ts';
import { explainCommand } from './commands/explain.ts';
import { parkedCommand } from './commands/parked.ts';
import { rebuildCommand } from './commands/rebuild.ts';
import { resnapshotCommand } from './commands/resnapshot.ts';
import { sagaCancelCommand, sagaDecideCommand } from './commands/saga-decide.ts';
import { sagaListCommand, sagaShowCommand } from './commands/saga-list.ts';
import { statusCommand } from './commands/status.ts';
import { upCommand } from './commands/up.ts';
import { loadApp, loadModule } from './load.ts';
import { version } from './version.ts';

/** Every command, in the order of the help. */
export const commands: Readonly<Record<string, Command>> = {
  up: upCommand,
  status: statusCommand,
  parked: parkedCommand,
  rebuild: rebuildCommand,
  resnapshot: resnapshotCommand,
  evidence: evidenceCommand,
  doctor: doctorCommand,
  explain: explainCommand,
  'events show': eventsShowCommand,
  'events tail': eventsTailCommand,
  'events replay': eventsReplayCommand,
  'events diff': eventsDiffCommand,
  'saga list': sagaListCommand,
  'saga show': sagaShowCommand,
  'saga retry': sagaDecideCommand('retry'),
  'saga skip': sagaDecideCommand('skip'),
  'saga mark': sagaDecideCommand('mark'),
  'saga abandon': sagaDecideCommand('abandon'),
  'saga cancel': sagaCancelCommand,
  check: checkCommand,
  draw: drawCommand,
  advise: adviseCommand,
  'cache stats': cacheStatsCommand,
  'cache get': cacheGetCommand,
  'cache invalidate': cacheInvalidateCommand,
  'cache warm': cacheWarmCommand,
};

const USAGE_ERROR = 2;

/** Runs one command line; returns its exit code: 0 done, 1 failed, 2 called wrongly. */
export async function runCommandLine(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...args] = wordsOf(argv);
  if (name === undefined || name === '--help' || name === 'help') {
    terminal.out(help());
    return name === undefined ? USAGE_ERROR : 0;
  }
  if (name === '--version') {
    terminal.out(await version());
    return 0;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined)
    return usageError(
      terminal,
      unknown('command', name, Object.keys(commands)),
      'tally --help lists the commands',
    );
  let call: Call | 'help';
  try {
    call = parse(command, args);
  } catch (error) {
    return usageError(terminal, errorText(error), `usage: ${command.usage}`);
  }
  if (call === 'help') {
    terminal.out(commandHelp(command));
    return 0;
  }
  try {
    return await command.run(call, terminal);
  } catch (error) {
    report(error, call.json, terminal);
    return 1;
  }
}

/** The words of the command line, those of a command with two (`events show`) as one. */
function wordsOf(argv: readonly string[]): readonly string[] {
  const [first, second, ...args] = argv;
  const isFirstOfTwo = Object.keys(commands).some((name) => name.startsWith(`${first} `));
  if (!isFirstOfTwo) return argv;
  if (second === undefined || second === '--help') return ['help'];
  return [`${first} ${second}`, ...args];
}

function parse(command: Command, args: readonly string[]): Call | 'help' {
  const known = { json: {}, help: {}, ...command.options };
  for (const arg of args) {
    const option = /^--([^=]+)/.exec(arg)?.[1];
    if (option !== undefined && !Object.hasOwn(known, option))
      throw new Error(
        unknown(
          'option',
          `--${option}`,
          Object.keys(known).map((name) => `--${name}`),
        ),
      );
  }
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: Object.fromEntries(
      Object.entries(known).map(([name, option]) => [
        name,
        {
          type:
            'takes' in option && option.takes !== undefined
              ? ('string' as const)
              : ('boolean' as const),
        },
      ]),
    ),
  });
  if (values['help'] === true) return 'help';
  const [file, ...rest] = positionals;
  if (file === undefined && command.file !== 'optional')
    throw new Error('the file that declares the application is missing');
  if (rest.length < command.rest.min || rest.length > command.rest.max)
    throw new Error(`${rest.length} arguments after the file do not fit`);
  return {
    app: () => loadApp(file ?? ''),
    module: () => loadModule(file ?? ''),
    file,
    rest,
    options: values,
    json: values['json'] === true,
  };
}

function unknown(kind: string, given: string, known: readonly string[]): string {
  const near = suggest(given, known);
  return `there is no ${kind} ${given}${near === undefined ? '' : `; did you mean ${near}?`}`;
}

function usageError(terminal: Terminal, what: string, hint: string): number {
  terminal.say(`tally: ${what}\n${hint}`);
  return USAGE_ERROR;
}

function report(error: unknown, json: boolean, terminal: Terminal): void {
  const code = isTallyError(error) ? error.code : 'INTERNAL';
  if (json) terminal.out(JSON.stringify({ error: { code, message: errorText(error) } }));
  else terminal.say(`tally: ${code}: ${errorText(error)}`);
  if (!(error instanceof TallyError) && error instanceof Error && error.stack !== undefined)
    terminal.say(error.stack);
}

function help(): string {
  const width = Math.max(...Object.values(commands).map(({ usage }) => usage.length));
  return [
    'tally: the evidence coordinator for applications whose data lives in several stores',
    '',
    ...Object.values(commands).map(({ usage, about }) => `  ${usage.padEnd(width)}  ${about}`),
    '',
    'APP.ts exports the application: export default tally({ … }). Each command takes --json and --help.',
    'Exit codes: 0 done, 1 failed (the error names a code, see docs/errors.md), 2 called wrongly.',
  ].join('\n');
}

function commandHelp(command: Command): string {
  const options = Object.entries(command.options).map(
    ([name, { takes, about }]) =>
      [`--${name}${takes === undefined ? '' : ` ${takes}`}`, about] as const,
  );
  const all = [...options, ['--json', 'print JSON and nothing else on standard output'] as const];
  const width = Math.max(...all.map(([name]) => name.length));
  return [
    `usage: ${command.usage}`,
    '',
    command.about,
    '',
    ...all.map(([name, about]) => `  ${name.padEnd(width)}  ${about}`),
  ].join('\n');
}
