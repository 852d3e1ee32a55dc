import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Terminal } from '../src/cli/command.ts';
import { commands, runCommandLine } from '../src/cli/run.ts';
import { systemClock } from '../src/runtime/clock.ts';

// Prints docs/cli.md from the commands themselves; with --write, into the file.

const head = `# The tally command

\`tally\` runs an application and lets you look at it. It comes with the package (\`npx tally\`); in this repository it is
\`npm run tally --\`. This page is printed from the commands by \`scripts/cli-page.ts\`; a test keeps it equal.

Commands talk to a running worker through the ledger: they leave a request and wait for the answer. Nothing listens on a port. Run them in
the same working directory as the worker, unless the application's \`dir\` is an absolute path. With \`--json\` standard output holds
JSON and nothing else; what happens meanwhile goes to standard error.

An application is a module whose default export is \`tally({ … })\`. Node 22.18 or newer runs it as TypeScript, as long as its types are
erasable.
`;

/** What a person may want to know beside the help text. */
const notes: Readonly<Record<string, string>> = {
  up: 'Ctrl-C and SIGTERM stop it at the next batch boundaries. A second `tally up` on the same ledger stands by and takes over.',
  status:
    'Reads what the workers last left in the ledger, twice a second. `behind` counts records of the log that are not applied; `older` counts writes that the target refused because it had the same or a newer version.',
  parked: 'What a unit is, and what a retry does: see [parked work](concepts/6-parking.md).',
  rebuild:
    'Restart the worker with the new projection first. What happens: see [rebuild](concepts/7-rebuild.md).',
  resnapshot:
    'It removes target rows that the source no longer has. Look before you run it: see [resnapshot](concepts/7-rebuild.md).',
  evidence:
    'Opens each store by itself. A store that another process holds exclusively (DuckDB) is reported with its error, and the others are shown.',
  doctor:
    'Opens each store by itself, with the user that the application has, and changes nothing there; no flow runs. `warn` works, with the consequence that is named; `fail` does not. Below each of them stands what mends it, and who may do that.',
  explain:
    'The file exports them beside the application: `export const joins = (app) => ({ … })`. It opens the stores and runs no flow; without `--run` it reads nothing. Exits with 1 if one is refused. See [reading across stores](patterns/compose.md#joins).',
  'events show':
    'A stream is named `CATEGORY-ID`; its decider is one of `tally({ deciders })`. Without a decider the events are shown, and no state. See [event sourcing](patterns/event-sourcing.md).',
  'events tail': 'Opens the store of the events by itself, and no other. Ctrl-C ends it.',
  'events replay':
    'Ends at the first event that cannot be read, with its code; what came before has been shown by then.',
  'events diff':
    'With `--against` it reads every stream of the category once, and holds two states at a time.',
  'saga list':
    '`definition` says whether a worker with this file could go on: `known`, `missing` (its name or version is gone) or `changed`. See [sagas](patterns/saga.md).',
  'saga show':
    'The history is all that the ledger holds of it, as `redact` of its definition left it.',
  'saga retry':
    'Acts in the ledger itself, whether or not a worker runs, as the commands below do; only a parked saga can be decided about.',
  'saga skip':
    'A step that is skipped has no result: what comes after it must do without. An undo that is skipped leaves its effect where it is.',
  'saga mark':
    'Look first: what you say is believed. A pivot that is marked `none` sends its saga back; one that is marked `effect`, forward.',
  'saga abandon': 'What it did and what it did not stands in its history, and is now for a person.',
  'saga cancel': 'It is a request: its worker turns the saga back at the next chance.',
  check:
    'What the rules find, the file format, and recordings: see [checking an architecture](guide/check.md). Without FILE it reads `topology.yaml`. A file with problems exits with 1, and each problem has its line.',
  draw: 'With `--format yaml` it prints the text of a preset, to begin from.',
  advise:
    'How it decides, and what its facts are worth: see [choosing a store](guide/advise.md). The dialogue keeps its answers in `.tally/advise.json`.',
  'cache stats':
    'Counters of hits, misses and loads are of a process: `stats()` of the cache there. Ends with 1 if a shared tier does not answer. See [cache-aside](guide/cache-aside.md).',
  'cache get':
    'A cache is named as in `tally({ caches })`, a key by its text. Ends with 1 if one of the keys is not there.',
  'cache invalidate':
    'It is done when the shared tier has taken it; copies in processes go when they are told, or when their time is over.',
  'cache warm':
    'Each key is loaded under a lease, so that a process that wants it meanwhile waits for this load. Keys that are there are left as they are.',
};

/** The page, as it should stand in docs/cli.md. */
export async function cliPage(): Promise<string> {
  const sections = [head, '```text', await printed('--help'), '```'];
  for (const name of Object.keys(commands)) {
    const note = notes[name];
    if (note === undefined) throw new Error(`the command ${name} has no note in this script`);
    sections.push(
      '',
      `## tally ${name}`,
      '',
      '```text',
      await printed(...name.split(' '), '--help'),
      '```',
      '',
      note,
    );
  }
  return `${sections.join('\n')}\n`;
}

async function printed(...argv: readonly string[]): Promise<string> {
  const lines: string[] = [];
  const terminal: Terminal = {
    out: (text) => void lines.push(text),
    say: (text) => void lines.push(text),
    screen: false,
    clock: systemClock,
    signal: new AbortController().signal,
  };
  const code = await runCommandLine(argv, terminal);
  if (code !== 0) throw new Error(`tally ${argv.join(' ')} ended with ${code}`);
  return lines.join('\n');
}

if (import.meta.main) {
  const page = await cliPage();
  if (process.argv.includes('--write'))
    await writeFile(join(import.meta.dirname, '../docs/cli.md'), page);
  else process.stdout.write(page);
}
