import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, test } from 'vitest';
import { inFolder } from '../../test/support/copy-app.ts';
import { systemClock } from '../runtime/clock.ts';
import { runCommandLine } from './run.ts';

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly said: string;
}

/** Runs a command line in this process; `lines` are what a person types, one after another, until they are used up. */
async function here(args: readonly string[], lines?: readonly string[]): Promise<Ended> {
  const ended = { out: '', said: '' };
  const typed = lines?.values();
  const code = await runCommandLine(args, {
    out: (text) => (ended.out += `${text}\n`),
    say: (text) => (ended.said += `${text}\n`),
    screen: false,
    clock: systemClock,
    signal: new AbortController().signal,
    ...(typed === undefined ? {} : { ask: async () => typed.next().value }),
  });
  return { code, ...ended };
}

const text = [
  'services:',
  '  - name: orders',
  '    storage:',
  '      primary: { system: postgresql, restoreTested: 2999-01-01 }',
  '      search: { system: elasticsearch }',
  'flows:',
  '  - { from: orders.primary, to: orders.search, by: application }',
].join('\n');

async function written(dir: string, content = text): Promise<string> {
  const file = join(dir, 'topology.yaml');
  await writeFile(file, content);
  return file;
}

describe('tally check', () => {
  test('tells place, why, remedy and price, and exits with 1 from the severity that was asked for', () =>
    inFolder(async (dir) => {
      const file = await written(dir);
      const ended = await here(['check', file]);
      expect(ended.code).toBe(1);
      expect(ended.out).toContain(`${file}:7:5  error  dual-write`);
      expect(ended.out).toContain('remedy: write the store that owns it');
      expect(ended.out).toContain('ignored, it costs:');
      expect(await here(['check', 'preset:ecommerce', '--fail-on', 'note'])).toMatchObject({
        code: 0,
      });
      expect(await here(['check', 'preset:uber-2', '--fail-on', 'warning'])).toMatchObject({
        code: 1,
      });
    }));

  test('as JSON and as SARIF', () =>
    inFolder(async (dir) => {
      const file = await written(dir);
      const json = JSON.parse((await here(['check', file, '--json'])).out) as {
        findings: unknown[];
      };
      expect(json.findings).toMatchObject([
        { id: 'dual-write', at: { line: 7, column: 5 }, subject: 'orders.primary → orders.search' },
      ]);
      const sarif = JSON.parse((await here(['check', file, '--format', 'sarif'])).out) as {
        runs: { results: { ruleIndex: number }[]; tool: { driver: { rules: { id: string }[] } } }[];
      };
      const [run] = sarif.runs;
      expect(run?.results).toMatchObject([
        {
          ruleId: 'dual-write',
          level: 'error',
          locations: [{ physicalLocation: { region: { startLine: 7, startColumn: 5 } } }],
        },
      ]);
      expect(run?.tool.driver.rules[run.results[0]?.ruleIndex ?? -1]?.id).toBe('dual-write');
    }));

  test('a baseline accepts what is there, also after lines were moved, and nothing new', () =>
    inFolder(async (dir) => {
      const file = await written(dir);
      const baseline = join(dir, 'baseline.json');
      expect(await here(['check', file, '--write-baseline', baseline])).toMatchObject({ code: 0 });
      await written(dir, `# a comment above\n${text}`);
      const accepted = await here(['check', file, '--baseline', baseline]);
      expect(accepted).toMatchObject({ code: 0 });
      expect(accepted.out).toContain('1 accepted by the baseline');
      await written(
        dir,
        `${text}\n  - { from: orders.search, to: orders.primary, by: application }`,
      );
      expect(await here(['check', file, '--baseline', baseline])).toMatchObject({ code: 1 });
      await writeFile(baseline, '{"findings": 1}');
      const refused = await here(['check', file, '--baseline', baseline]);
      expect(refused).toMatchObject({ code: 1, out: '' });
      expect(refused.said).toContain('INPUT_INVALID');
    }));

  test('a file with problems is refused with each place; one that is no file, or no option, says so', () =>
    inFolder(async (dir) => {
      const file = await written(dir, 'services:\n  - { nam: a }\n  - { name: b, calls: [c] }');
      const ended = await here(['check', file]);
      expect(ended).toMatchObject({ code: 1, out: '' });
      expect(ended.said).toContain(`${file}:2:7`);
      expect(ended.said).toContain('did you mean name?');
      expect((await here(['check', join(dir, 'missing.yaml')])).said).toContain('INPUT_INVALID');
      expect((await here(['check', 'preset:netflx'])).said).toContain('did you mean netflix?');
      expect((await here(['check', file, '--fail-on', 'warnin'])).said).toContain(
        'did you mean warning?',
      );
      expect((await here(['check', file, '--bseline', 'x'])).code).toBe(2);
    }));

  test('recordings are compared with what is declared', () =>
    inFolder(async (dir) => {
      const file = await written(dir);
      const log = join(dir, 'queries.jsonl');
      const line = {
        trace: 't',
        service: 'orders',
        store: 'cache',
        statement: 'GET a',
        startMs: 0,
        durationMs: 1,
      };
      await writeFile(log, `${JSON.stringify(line)}\n`);
      const ended = await here(['check', file, '--query-log', log, '--json']);
      expect(ended.said).toContain('1 spans');
      expect(ended.out).toContain('undeclared-edge');
    }));

  test('--schema is a JSON Schema', async () => {
    const { code, out } = await here(['check', '--schema']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ type: 'object', required: ['services'] });
  });
});

describe('tally draw', () => {
  test('a picture that names every service and store, and loads nothing', async () => {
    const { code, out } = await here(['draw', 'preset:netflix']);
    expect(code).toBe(0);
    expect(out).toMatch(/^<svg xmlns/);
    for (const name of ['playback', 'billing', 'primary: Cassandra', 'metrics: Atlas'])
      expect(out).toContain(name);
    expect(out).not.toMatch(/href|<script/);
  });

  test('a Mermaid flowchart, and the text of a preset to begin from', () =>
    inFolder(async (dir) => {
      expect((await here(['draw', 'preset:airbnb', '--format', 'mermaid'])).out).toMatch(
        /^flowchart LR\n {2}subgraph/,
      );
      const file = join(dir, 'mine.yaml');
      expect(await here(['draw', 'preset:uber', '--format', 'yaml', '--out', file])).toMatchObject({
        code: 0,
        out: '',
      });
      expect(await readFile(file, 'utf8')).toContain('name: uber-3');
      expect((await here(['check', file])).code).toBe(0);
    }));

  test('names that could end an element are text', () =>
    inFolder(async (dir) => {
      const file = await written(
        dir,
        'services: [{ name: "<script>&\\"", storage: { primary: mysql } }]',
      );
      const { out } = await here(['draw', file]);
      expect(out).toContain('&lt;script&gt;&amp;&quot;');
      expect(out).not.toContain('<script');
    }));
});

describe('tally advise', () => {
  test('by options, as text, explained, and as JSON', async () => {
    const args = ['advise', '--model', 'search', '--bytes', '10GB', '--runs', 'postgres,redis'];
    const plain = await here(args);
    expect(plain.code).toBe(0);
    expect(plain.out).toContain('do not add a store: use PostgreSQL with tsvector');
    expect(plain.out).toContain('what would change the answer:');
    expect((await here([...args, '--explain'])).out).toContain('eliminated:');
    expect(JSON.parse((await here([...args, '--json'])).out)).toMatchObject({
      answer: 'keep postgresql',
      workload: { runs: ['postgresql', 'redis'], bytes: 1e10 },
    });
  });

  test('by a file, with the line of what is wrong in it', () =>
    inFolder(async (dir) => {
      const file = join(dir, 'workload.yaml');
      await writeFile(file, 'model: document\nbytes: 2PB\nconsistency: eventual\n');
      expect((await here(['advise', file])).out).toContain('take Cassandra');
      await writeFile(file, 'model: document\nconsistncy: eventual\n');
      const ended = await here(['advise', file]);
      expect(ended).toMatchObject({ code: 1, out: '' });
      expect(ended.said).toContain('did you mean consistency?');
      expect(ended.said).toContain(`${file}:2:1`);
    }));

  test('what cannot be exits with 1 and the smallest set to relax', async () => {
    const ended = await here([
      'advise',
      '--model',
      'graph',
      '--consistency',
      'strict-serializable',
      '--reach',
      'global-writes',
    ]);
    expect(ended.code).toBe(1);
    expect(ended.out).toContain(
      'no system satisfies: data model graph + consistency strict-serializable + reach global-writes',
    );
    expect(ended.out).toContain('the smallest set to relax is');
  });

  test('a dialogue asks, asks again, keeps each answer, and goes on where it was left', () =>
    inFolder(async (dir) => {
      const before = process.cwd();
      await mkdir(join(dir, 'work'));
      process.chdir(join(dir, 'work'));
      try {
        const left = await here(['advise'], ['', 'grph', 'graph', 'postgres', 'eventual']);
        expect(left.code).toBe(1);
        expect(left.said).toContain('this one is needed');
        expect(left.said).toContain('did you mean graph?');
        expect(left.said).toContain('tally advise goes on there');
        expect(JSON.parse(await readFile('.tally/advise.json', 'utf8'))).toEqual({
          model: 'graph',
          runs: ['postgres'],
          consistency: 'eventual',
        });
        const rest = await here(
          ['advise', '--json'],
          ['disk', '', 'much', '5GB', ...Array.from({ length: 20 }, () => '')],
        );
        expect(rest.said).toContain('going on after 3 answers');
        expect(rest.said).toContain('much cannot be read');
        expect(rest.code).toBe(0);
        expect(JSON.parse(rest.out)).toMatchObject({
          workload: { model: 'graph', durability: 'disk', bytes: 5e9, runs: ['postgresql'] },
          answer: 'keep postgresql',
        });
        expect((await here(['advise'])).said).toContain('standard input is no terminal');
      } finally {
        process.chdir(before);
      }
    }));

  test('--compass writes one page, --systems lists the catalogue', () =>
    inFolder(async (dir) => {
      const file = join(dir, 'compass.html');
      expect(await here(['advise', '--compass', file])).toMatchObject({ code: 0, out: '' });
      expect(await readFile(file, 'utf8')).toMatch(/^<!doctype html>/);
      expect((await here(['advise', '--systems'])).out).toContain('foundationdb');
    }));
});
