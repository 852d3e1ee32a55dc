import { fork } from 'node:child_process';
import { parseArgs } from 'node:util';
import { suggest } from '../src/core/options.ts';
import { benches } from './harness/catalogue.ts';
import { number, save, verdict } from './harness/results.ts';
import type { Outcome } from './harness/run-one.ts';

const USAGE = 'npm run bench [-- NAME… | all] [--json] [--quick] [--save]';
const flags = ['json', 'quick', 'save', 'help'] as const;

/** Ends with a message and the exit code for wrong usage. */
class UsageError extends Error {}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  return 2;
});

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(args);
  if (positionals.length === 0 || values.has('help')) {
    await list(values.has('json'));
    return 0;
  }
  const outcomes: Outcome[] = [];
  const failed: string[] = [];
  for (const name of chosen(positionals)) {
    const outcome = await run(name, values.has('quick'));
    if (outcome === undefined) {
      failed.push(name);
      continue;
    }
    outcomes.push(outcome);
    if (values.has('save')) await save(outcome);
    if (!values.has('json')) show(outcome);
  }
  if (values.has('json'))
    console.log(JSON.stringify(outcomes.length === 1 ? outcomes[0] : outcomes, undefined, 2));
  for (const name of failed) console.error(`${name} failed; what it said stands above`);
  return failed.length === 0 ? 0 : 1;
}

function parse(args: readonly string[]): { values: Set<string>; positionals: readonly string[] } {
  const { tokens } = parseArgs({ args: [...args], strict: false, tokens: true });
  const values = new Set<string>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    if (!(flags as readonly string[]).includes(token.name))
      throw unknown(`option ${token.rawName}`, token.name, flags, '--');
    values.add(token.name);
  }
  return {
    values,
    positionals: tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : [])),
  };
}

function chosen(names: readonly string[]): readonly string[] {
  const all = Object.keys(benches);
  if (names.length === 1 && names[0] === 'all') return all;
  for (const name of names)
    if (!Object.hasOwn(benches, name)) throw unknown(`benchmark ${name}`, name, all, '');
  return names;
}

function unknown(what: string, name: string, known: readonly string[], prefix: string): UsageError {
  const near = suggest(name, known);
  const mend =
    near === undefined
      ? `use one of ${known.map((one) => prefix + one).join(', ')}`
      : `did you mean ${prefix}${near}?`;
  return new UsageError(`there is no ${what}; ${mend}\n${USAGE}`);
}

async function list(json: boolean): Promise<void> {
  const all = await Promise.all(
    Object.entries(benches).map(async ([name, listed]) => ({
      name,
      about: (await listed.load()).about,
      bars: listed.bars,
    })),
  );
  if (json) {
    console.log(JSON.stringify(all, undefined, 2));
    return;
  }
  const width = Math.max(...all.map(({ name }) => name.length));
  for (const { name, about, bars } of all) {
    console.log(`${name.padEnd(width)}  ${about}`);
    for (const bar of bars) console.log(`${' '.repeat(width)}    ${bar}`);
  }
  console.log(`\n${USAGE}`);
}

/** Runs one benchmark in a process of its own; undefined if it failed. */
async function run(name: string, quick: boolean): Promise<Outcome | undefined> {
  const { promise, resolve } = Promise.withResolvers<Outcome | undefined>();
  let outcome: Outcome | undefined;
  // Its standard output is ours for JSON: what it prints goes where messages go.
  const child = fork(
    new URL('harness/run-one.ts', import.meta.url),
    [name, ...(quick ? ['quick'] : [])],
    { stdio: ['ignore', 2, 2, 'ipc'] },
  );
  child.on('message', (message) => {
    outcome = message as Outcome;
  });
  child.on('exit', (code) => resolve(code === 0 ? outcome : undefined));
  return await promise;
}

function show({ name, about, seconds, environment, result }: Outcome): void {
  const { before, after } = environment.load;
  console.log(`${name}: ${about} (${seconds} s, load ${before} to ${after})`);
  for (const claim of result.claims) {
    const bar = claim.bar === undefined ? '' : `, bar ${number(claim.bar)}`;
    console.log(
      `  ${claim.claim}: ${number(claim.measured)} ${claim.unit}${bar} ${verdict(claim)}`,
    );
  }
}
