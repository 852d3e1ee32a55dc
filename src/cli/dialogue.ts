import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  dataModels,
  durabilities,
  queryShapes,
  reaches,
  transactionScopes,
} from '../advisor/system.ts';
import { consistencies, hostings, teams } from '../advisor/workload.ts';
import { errorText, TallyError } from '../core/errors.ts';
import { suggest } from '../core/options.ts';
import { sizeOf } from '../topology/read.ts';
import type { Terminal } from './command.ts';

/** Answers as they will be the fields of a workload; null for "no matter". */
export type Answers = Readonly<Record<string, unknown>>;

interface Question {
  readonly field: string;
  readonly asks: string;
  /** The words that may be answered; undefined for a free one. */
  readonly words?: readonly string[];
  readonly several?: true;
  /** The value of a free answer; undefined if it cannot be read. */
  readonly read?: (text: string) => unknown;
  readonly hint?: string;
  /** Whether it makes sense after the answers so far. */
  readonly when?: (answers: Answers) => boolean;
}

const number = (text: string): number | undefined => {
  const value = Number(text.replaceAll(/[_,\s]/g, ''));
  return Number.isFinite(value) && value >= 0 && text.trim() !== '' ? value : undefined;
};

/** In the order of how much they decide. */
const questions: readonly Question[] = [
  { field: 'model', asks: 'What is it, as the application thinks of it?', words: dataModels },
  {
    field: 'runs',
    asks: 'Which systems does the team run already?',
    several: true,
    read: (text) => text,
    hint: 'postgresql, redis',
  },
  { field: 'consistency', asks: 'What must a reader be able to count on?', words: consistencies },
  { field: 'durability', asks: 'What must an acknowledged write survive?', words: durabilities },
  { field: 'transactions', asks: 'What changes as one step?', words: transactionScopes },
  { field: 'bytes', asks: 'How much data will there be?', read: sizeOf, hint: '200GB, 5TB' },
  {
    field: 'edges',
    asks: 'How many edges?',
    read: number,
    hint: '500000000',
    when: ({ model }) => model === 'graph',
  },
  {
    field: 'retentionDays',
    asks: 'For how many days is it kept?',
    read: number,
    hint: '90',
    when: ({ model }) => model === 'time-series',
  },
  {
    field: 'latencyMs',
    asks: 'How long may a typical read take, in ms?',
    read: number,
    hint: '10',
  },
  { field: 'queries', asks: 'How is it asked for?', words: queryShapes, several: true },
  { field: 'reach', asks: 'Where is it read and written?', words: reaches },
  { field: 'survives', asks: 'How many machines may fail at once?', read: number, hint: '1' },
  { field: 'analytics', asks: 'Are there questions over all of it?', words: ['yes', 'no'] },
  { field: 'hosting', asks: 'How will it be run?', words: hostings },
  { field: 'team', asks: 'Who runs it?', words: teams },
  { field: 'openSource', asks: 'Must the licence be open source?', words: ['yes', 'no'] },
];

/**
 * Asks what a store has to do, one question at a time, and keeps each answer in `file` at once: ended at any place, it
 * goes on there. An empty answer means that it does not matter. Undefined if the input ended before the last question.
 */
export async function askWorkload(
  terminal: Terminal,
  file: string,
  kept: Answers,
): Promise<Answers | undefined> {
  let answers = kept;
  const { ask } = terminal;
  if (ask === undefined)
    throw new TallyError('CONFIG_INVALID', {
      what: 'nobody can be asked: standard input is no terminal',
      mend: 'give a workload file, or options such as --model',
    });
  const open = Object.keys(kept).length;
  if (open > 0)
    terminal.say(`going on after ${open} answers that are kept in ${file}; --fresh begins anew`);
  terminal.say('an empty answer: it does not matter. Ctrl-C: the answers so far are kept.\n');
  for (const question of questions) {
    if (question.field in answers || question.when?.(answers) === false) continue;
    const answer = await answered(question, ask, terminal);
    if (answer === undefined) return undefined;
    answers = { ...answers, [question.field]: answer };
    await keep(file, answers);
  }
  return answers;
}

/** The answer to one question, asked again until it can be read; undefined at the end of input. */
async function answered(
  question: Question,
  ask: NonNullable<Terminal['ask']>,
  terminal: Terminal,
): Promise<unknown> {
  const { words, hint } = question;
  const choices =
    words === undefined
      ? hint === undefined
        ? ''
        : ` (such as ${hint})`
      : `\n  ${words.join('  ')}`;
  for (;;) {
    const line = await ask(`${question.asks}${choices}\n> `);
    if (line === undefined) return undefined;
    const text = line.trim();
    if (text === '') {
      if (question.field !== 'model') return null;
      terminal.say('this one is needed');
      continue;
    }
    const value = valueOf(question, text);
    if (value.ok) return value.value;
    terminal.say(value.says);
  }
}

type Read =
  { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly says: string };

function valueOf(question: Question, text: string): Read {
  const { words, several, read } = question;
  if (several === true) {
    const parts = text.split(/[\s,]+/).filter((part) => part !== '');
    const wrong = words === undefined ? undefined : parts.find((part) => !words.includes(part));
    return wrong === undefined ? { ok: true, value: parts } : refused(wrong, words ?? []);
  }
  if (words !== undefined) {
    if (!words.includes(text)) return refused(text, words);
    return { ok: true, value: text === 'yes' ? true : text === 'no' ? false : text };
  }
  const value = read?.(text);
  return value === undefined
    ? { ok: false, says: `${text} cannot be read; such as ${question.hint}` }
    : { ok: true, value };
}

function refused(word: string, words: readonly string[]): Read {
  const near = suggest(word, words);
  return {
    ok: false,
    says: `${word} is none of them${near === undefined ? '' : `; did you mean ${near}?`}`,
  };
}

/** The answers of an earlier dialogue; none if there was none. Throws INPUT_INVALID if the file is something else. */
export async function keptAnswers(file: string): Promise<Answers> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Answers;
    throw new TypeError('it is no object');
  } catch (cause) {
    throw new TallyError('INPUT_INVALID', {
      what: `the kept answers cannot be read: ${errorText(cause, 200)}`,
      where: file,
      mend: 'run tally advise --fresh',
      cause,
    });
  }
}

/** Whole or not at all: an answer is not lost because the next one was cut off. */
async function keep(file: string, answers: Answers): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, `${JSON.stringify(answers, undefined, 2)}\n`);
  await rename(`${file}.new`, file);
}
