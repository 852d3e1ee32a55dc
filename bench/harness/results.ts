import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format } from 'prettier';
import type { BenchClaim } from '../bench.ts';
import type { Outcome } from './run-one.ts';

const DIR = join(import.meta.dirname, '..', 'results');

/** Writes an outcome to results/NAME.json, and results/README.md anew from all of them. */
export async function save(outcome: Outcome): Promise<void> {
  await mkdir(DIR, { recursive: true });
  const text = await format(JSON.stringify(outcome), { parser: 'json', printWidth: 100 });
  await writeFile(join(DIR, `${outcome.name}.json`), text);
  const files = (await readdir(DIR)).filter((file) => file.endsWith('.json')).toSorted();
  const outcomes = await Promise.all(
    files.map(async (file) => JSON.parse(await readFile(join(DIR, file), 'utf8')) as Outcome),
  );
  await writeFile(join(DIR, 'README.md'), await format(page(outcomes), { parser: 'markdown' }));
}

function page(outcomes: readonly Outcome[]): string {
  return [
    '# Results of the benchmarks',
    '',
    'Written by `npm run bench -- NAME --save`. Rates say little without what stands beside them: the',
    'load is that of the machine in the minute before and at the end; above its cores, others ran too.',
    '',
    ...outcomes.flatMap(section),
  ].join('\n');
}

function section({ name, about, seconds, quick, environment, result }: Outcome): string[] {
  const { cpu, cores, memoryGiB, system, diskSyncsPerSecond, load } = environment;
  return [
    `## ${name}`,
    '',
    `${about[0]?.toUpperCase() ?? ''}${about.slice(1)}.${quick ? ' **A quick run: proves nothing.**' : ''}`,
    '',
    '| claim | bar | measured | |',
    '| --- | --- | --- | --- |',
    ...result.claims.map(
      (claim) =>
        `| ${claim.claim} | ${claim.bar === undefined ? '' : `${number(claim.bar)} ${claim.unit}`} | ${number(claim.measured)} ${claim.unit} | ${verdict(claim)} |`,
    ),
    '',
    `${environment.date.slice(0, 16).replace('T', ' ')} UTC, commit ${environment.commit}, ${seconds} s; ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system};`,
    `${number(diskSyncsPerSecond)} disk syncs/s; Node ${environment.node}, SQLite ${environment.sqlite}, DuckDB ${environment.duckdb}; load ${load.before} before, ${load.after} after.`,
    '',
  ];
}

/** A measured value, its thousands apart. */
export function number(value: number): string {
  const rounded = Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 100) / 100;
  return rounded.toLocaleString('en-US').replaceAll(',', ' ');
}

/** What a claim came to, in a word. */
export function verdict({ bar, met }: BenchClaim): string {
  if (bar === undefined) return '';
  return met === true ? 'met' : '**not met**';
}
