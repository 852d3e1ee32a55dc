import { rm, writeFile } from 'node:fs/promises';
import { catalogue } from '../../advisor/catalogue.ts';
import { compassPage } from '../../advisor/compass.ts';
import { decide, type Decision, type Ranked } from '../../advisor/decide.ts';
import { decisionText, explanationText } from '../../advisor/explain.ts';
import { costOf } from '../../advisor/money.ts';
import { answerOf, flipsOf, type Flip } from '../../advisor/sensitivity.ts';
import { checkWorkload, type Workload } from '../../advisor/workload.ts';
import { isTallyError, TallyError } from '../../core/errors.ts';
import { plainOf, readDocument, type Located } from '../../topology/document.ts';
import { sizeOf } from '../../topology/read.ts';
import type { Call, Command, Terminal } from '../command.ts';
import { askWorkload, keptAnswers } from '../dialogue.ts';
import { readText } from '../read-file.ts';
import { table } from '../table.ts';

const ANSWERS_FILE = '.tally/advise.json';

const texts = [
  'model',
  'durability',
  'consistency',
  'transactions',
  'reach',
  'hosting',
  'team',
] as const;
const sizes = { bytes: 'bytes', 'item-bytes': 'itemBytes' } as const;
const numbers = {
  latency: 'latencyMs',
  edges: 'edges',
  'retention-days': 'retentionDays',
  survives: 'survives',
  reads: 'readsPerSecond',
  writes: 'writesPerSecond',
} as const;
const lists = ['queries', 'runs'] as const;

/** `tally advise`: which store, and why. */
export const adviseCommand: Command = {
  usage: 'tally advise [WORKLOAD.yaml]',
  about:
    'Say which store fits a workload, why, and what would change the answer. Without a file or options it asks. Exits with 1 if nothing fits.',
  options: {
    model: {
      takes: 'MODEL',
      about: 'relational, document, key-value, graph, time-series, search …',
    },
    consistency: {
      takes: 'WORD',
      about: 'eventual, session, linearizable, snapshot, serializable, strict-serializable',
    },
    durability: { takes: 'WORD', about: 'memory, periodic, disk or replicated' },
    transactions: { takes: 'WORD', about: 'none, item, batch or interactive' },
    latency: { takes: 'MS', about: 'the longest a typical read may take' },
    bytes: { takes: 'SIZE', about: 'all of the data, such as 5TB' },
    'item-bytes': { takes: 'SIZE', about: 'the largest item' },
    edges: { takes: 'NUMBER', about: 'edges of a graph' },
    'retention-days': { takes: 'DAYS', about: 'how long data is kept' },
    queries: { takes: 'LIST', about: 'point, range, join, aggregate, full-text, traversal …' },
    reach: { takes: 'WORD', about: 'process, region, global-reads or global-writes' },
    survives: { takes: 'NUMBER', about: 'machines that may fail at once' },
    analytics: { about: 'questions over all of it' },
    hosting: { takes: 'WORD', about: 'embedded, self-hosted or managed' },
    team: { takes: 'WORD', about: 'none, small or platform' },
    'open-source': { about: 'an open-source licence' },
    runs: { takes: 'LIST', about: 'systems that the team runs already' },
    reads: { takes: 'NUMBER', about: 'reads a second, for the price' },
    writes: { takes: 'NUMBER', about: 'writes a second, for the price' },
    explain: { about: 'show every score, what was eliminated by what, and the documents' },
    systems: { about: 'list the systems of the catalogue' },
    compass: { takes: 'FILE', about: 'write the CAP compass as one HTML page' },
    fresh: { about: `forget the answers kept in ${ANSWERS_FILE}` },
  },
  file: 'optional',
  rest: { min: 0, max: 0 },
  run: async (call, terminal) => {
    const { compass } = call.options;
    if (typeof compass === 'string') {
      await writeFile(compass, compassPage());
      terminal.say(`${compass} shows ${catalogue.length} systems; it needs no network`);
      return 0;
    }
    if (call.options['systems'] === true) return listSystems(call, terminal);
    const workload = await workloadOf(call, terminal);
    if (workload === undefined) return 1;
    const decision = decide(workload);
    const flips = flipsOf(workload, decision);
    if (call.json) terminal.out(JSON.stringify(jsonOf(workload, decision, flips)));
    else {
      terminal.out(decisionText(workload, decision, flips));
      if (call.options['explain'] === true) terminal.out(explanationText(decision));
    }
    return decision.kind === 'conflict' ? 1 : 0;
  },
};

/** From the file, the options over it, or a dialogue if there is neither; undefined if the dialogue was left. */
async function workloadOf(call: Call, terminal: Terminal): Promise<Workload | undefined> {
  const options = fromOptions(call);
  if (call.file === undefined && Object.keys(options).length === 0) {
    if (call.options['fresh'] === true) await rm(ANSWERS_FILE, { force: true });
    const answers = await askWorkload(terminal, ANSWERS_FILE, await keptAnswers(ANSWERS_FILE));
    if (answers === undefined) {
      terminal.say(`\nthe answers are kept in ${ANSWERS_FILE}; tally advise goes on there`);
      return undefined;
    }
    return checkWorkload(
      Object.fromEntries(Object.entries(answers).filter(([, answer]) => answer !== null)),
      ANSWERS_FILE,
    );
  }
  if (call.file === undefined) return checkWorkload(options, 'options');
  const document = readDocument(await readText(call.file, 'the workload'), call.file);
  return placed(call.file, document, () =>
    checkWorkload({ ...withSizes(plainOf(document)), ...options }),
  );
}

/** A workload file may say `bytes: 5TB`. */
function withSizes(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return { workload: value };
  const fields = value as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [
      name,
      name === 'bytes' || name === 'itemBytes' ? (sizeOf(field) ?? field) : field,
    ]),
  );
}

/** A refusal of a field with the line where it stands. */
function placed(file: string, document: Located, check: () => Workload): Workload {
  try {
    return check();
  } catch (error) {
    if (!isTallyError(error) || document.kind !== 'map') throw error;
    const { path: told } = error.details;
    const path = typeof told === 'string' ? told : error.message;
    const entry = document.entries.find(({ key }) => path.includes(key));
    if (entry === undefined) throw error;
    throw new TallyError(error.code, {
      what: error.message.replace(/\.$/, ''),
      where: `${file}:${entry.at.line}:${entry.at.column}`,
      details: error.details,
      cause: error,
    });
  }
}

function fromOptions({ options }: Call): Readonly<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const name of texts) if (options[name] !== undefined) found[name] = options[name];
  for (const [option, field] of Object.entries(sizes))
    if (options[option] !== undefined)
      found[field] = sizeOf(options[option]) ?? Number(options[option]);
  for (const [option, field] of Object.entries(numbers))
    if (options[option] !== undefined) found[field] = Number(options[option]);
  for (const name of lists) {
    const list = options[name];
    if (typeof list === 'string') found[name] = list.split(',').map((word) => word.trim());
  }
  if (options['analytics'] === true) found['analytics'] = true;
  if (options['open-source'] === true) found['openSource'] = true;
  return found;
}

function listSystems({ json }: Call, { out }: Terminal): number {
  if (json) out(JSON.stringify({ systems: catalogue }));
  else
    out(
      table([
        ['system', 'family', 'configurations'],
        ...catalogue.map(({ id, family, configurations }) => [
          id,
          family,
          configurations.map((one) => `${one.id} (${one.cap.value})`).join(', '),
        ]),
      ]),
    );
  return 0;
}

function jsonOf(workload: Workload, decision: Decision, flips: readonly Flip[]): unknown {
  const ranked = (one: Ranked): unknown => ({
    system: one.candidate.system.id,
    configuration: one.candidate.configuration.id,
    ...(one.candidate.stretch === undefined ? {} : { by: one.candidate.stretch.by }),
    score: one.score,
    points: one.points,
    unknown: one.unknown.map(({ says }) => says),
    cost: costOf(one.candidate.system, workload) ?? null,
  });
  return {
    workload,
    answer: answerOf(decision),
    ...(decision.kind === 'conflict'
      ? { relax: decision.relax.map(({ requirements, systems }) => ({ requirements, systems })) }
      : {
          pick: ranked(decision.pick),
          alternative: decision.alternative === undefined ? null : ranked(decision.alternative),
        }),
    changes: flips.map((flip) => ({ change: flip.says, answer: answerOf(flip.decision) })),
    tree: decision.leaf ?? null,
    ranked: decision.ranked.map(ranked),
    eliminated: decision.eliminated.map(({ candidate, fails }) => ({
      system: candidate.system.id,
      fails: fails.map(({ says }) => says),
    })),
  };
}
