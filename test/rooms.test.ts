import { execFile } from 'node:child_process';
import { copyFile, glob, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// The lint configuration is copied beside a tree of small files that break (or keep) one rule each,
// and the linter runs there once: nothing is written into src, where others may be at work.

const root = join(import.meta.dirname, '..');

const patterns = [
  'patterns/events',
  'patterns/cqrs',
  'patterns/saga',
  'patterns/cache',
  'patterns/compose',
];
const kernel = ['core', 'ports', 'observe', 'runtime', 'flow'];
const machinery = [...kernel, ...patterns, 'topology', 'advisor'];

/** Which rooms a room may import beside itself. A new folder in src fails a test below until it is named here. */
const house: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ports: ['core'],
  observe: ['core'],
  runtime: ['core', 'ports', 'observe'],
  flow: ['core', 'ports', 'observe', 'runtime'],
  'patterns/events': kernel,
  'patterns/cqrs': kernel,
  'patterns/saga': kernel,
  'patterns/cache': kernel,
  'patterns/compose': kernel,
  'stores/memory': ['core', 'ports', 'observe'],
  'stores/sqlite': ['core', 'ports', 'observe'],
  'stores/duckdb': ['core', 'ports', 'observe'],
  'stores/files': ['core', 'ports', 'observe'],
  advisor: ['core', 'ports', 'observe'],
  topology: [...kernel, ...patterns, 'advisor'],
  conformance: ['core', 'ports', 'observe'],
  faults: [...kernel, 'conformance', 'stores/memory'],
  testing: [...kernel, ...patterns, 'stores/memory'],
  app: [...machinery, 'conformance', 'faults', 'testing'],
  console: [...machinery, 'app'],
  cli: [...machinery, 'conformance', 'faults', 'app', 'console'],
};

interface Case {
  readonly file: string;
  readonly source: string;
  readonly rule: string;
  readonly reported: boolean;
}

function importsOf(from: string, to: string, subfolder: string): Case {
  const file = `src/${from}/${subfolder}imports-${to.replace('/', '-')}.ts`;
  const up = '../'.repeat(file.split('/').length - 2);
  const sibling = dirname(from) !== '.' && dirname(from) === dirname(to) && subfolder === '';
  const target = sibling ? `../${to.split('/')[1]}/thing.ts` : `${up}${to}/thing.ts`;
  return {
    file,
    source: `import { thing } from '${target}';\nexport const it: unknown = thing;\n`,
    rule: 'no-restricted-imports',
    reported: house[from]?.includes(to) !== true,
  };
}

const roomCases: Case[] = Object.keys(house).flatMap((from) =>
  Object.keys(house)
    .filter((to) => to !== from)
    .flatMap((to) => [importsOf(from, to, ''), importsOf(from, to, 'deep/')]),
);

function refused(file: string, rule: string, source: string): Case {
  return { file, source, rule, reported: true };
}

function accepted(file: string, rule: string, source: string): Case {
  return { file, source, rule, reported: false };
}

const imports = 'no-restricted-imports';
const globals = 'no-restricted-globals';
const properties = 'no-restricted-properties';
const long = (lines: number): string => Array(lines).fill('  void 0;').join('\n');

const otherCases: Case[] = [
  refused('src/core/type.ts', imports, `export type { A } from '../flow/a.ts';`),
  refused('src/flow/again.ts', imports, `export * from '../stores/sqlite/a.ts';`),
  refused('src/flow/later.ts', imports, `export const a: unknown = await import('../cli/a.ts');`),
  refused('src/flow/package.ts', imports, `import a from 'pg';\nexport const b: unknown = a;`),
  refused('src/flow/scoped.ts', imports, `export { a } from '@duckdb/node-api';`),
  refused('src/flow/by-name.ts', imports, `export { a } from 'tallystick/sqlite';`),
  refused('src/stores/sqlite/by-name.ts', imports, `export { a } from 'tallystick';`),
  accepted('src/stores/sqlite/driver.ts', imports, `export { a } from '@duckdb/node-api';`),
  accepted('src/topology/document.ts', imports, `export { parseDocument } from 'yaml';`),
  refused('src/topology/package.ts', imports, `export { a } from 'yaml/util';`),
  refused('src/topology/other.ts', imports, `export { a } from 'yamljs';`),
  refused('src/topology/driver.ts', imports, `export { a } from 'pg';`),
  refused('src/advisor/yaml.ts', imports, `export { parseDocument } from 'yaml';`),
  refused('src/cli/yaml.ts', imports, `export { parseDocument } from 'yaml';`),
  refused('src/core/disk.ts', imports, `export { readFile } from 'node:fs/promises';`),
  refused('src/ports/disk.ts', imports, `export { readFile } from 'node:fs';`),
  accepted('src/core/hash.ts', imports, `export { createHash } from 'node:crypto';`),
  accepted('src/stores/sqlite/disk.ts', imports, `export { DatabaseSync } from 'node:sqlite';`),
  refused('src/flow/timers.ts', imports, `export { setTimeout } from 'node:timers/promises';`),
  refused('src/stores/sqlite/timers.ts', imports, `export { setTimeout } from 'node:timers';`),
  accepted('src/runtime/timers.ts', imports, `export { setTimeout } from 'node:timers/promises';`),
  accepted('src/stores/sqlite/own.ts', imports, `export { a } from './deep/a.ts';`),
  accepted('src/stores/sqlite/deep/own.ts', imports, `export { a } from '../a.ts';`),
  accepted('src/patterns/saga/deep/own.ts', imports, `export { a } from '../a.ts';`),
  accepted('src/core/own.test.ts', imports, `export { a } from '../stores/memory/a.ts';`),

  refused('src/flow/a.ts', properties, `export const a: number = Date.now();`),
  refused('src/flow/b.ts', properties, `export const a: number = Math.random();`),
  refused('src/flow/c.ts', properties, `export const a: number = performance.now();`),
  refused('src/cli/d.ts', properties, `process.exit(1);`),
  refused('src/flow/e.ts', properties, `export const a: AbortSignal = AbortSignal.timeout(1);`),
  refused('src/stores/sqlite/f.ts', globals, `setTimeout(() => undefined, 1);`),
  refused('src/console/g.ts', globals, `setInterval(() => undefined, 1);`),
  accepted('src/runtime/h.ts', properties, `export const a: number = Date.now();`),
  accepted('src/faults/i.ts', globals, `setTimeout(() => undefined, 1);`),
  accepted('src/testing/j.ts', properties, `export const a: number = Math.random();`),
  accepted('src/cli/main.ts', properties, `process.exit(1);`),
  accepted('src/flow/k.test.ts', properties, `export const a: number = Date.now();`),

  refused('src/flow/l.ts', 'no-default-export', `export default 1;`),
  accepted('examples/l.ts', 'no-default-export', `export default 1;`),
  refused('src/flow/m.ts', 'no-explicit-any', `export const a: any = 1;`),
  refused('src/flow/n.ts', 'no-non-null-assertion', `export const a = (b?: number): number => b!;`),
  refused('src/flow/o.ts', 'max-lines', `export function a(): void {\n${long(401)}\n}`),
  refused('src/flow/p.ts', 'max-lines-per-function', `export function a(): void {\n${long(70)}\n}`),
  accepted('src/flow/p.test.ts', 'max-lines-per-function', `export function a() {\n${long(70)}\n}`),
  refused('src/flow/q.ts', 'no-cycle', `import { b } from './r.ts';\nexport const a = () => b;`),
  refused('src/flow/r.ts', 'no-cycle', `import { a } from './q.ts';\nexport const b = () => a;`),
];

const cases: readonly Case[] = [...roomCases, ...otherCases];
let tree: string;
let reports: ReadonlySet<string>;

beforeAll(async () => {
  tree = await mkdtemp(join(tmpdir(), 'tallystick-rooms-'));
  await copyFile(join(root, '.oxlintrc.json'), join(tree, '.oxlintrc.json'));
  for (const { file, source } of cases) {
    await mkdir(dirname(join(tree, file)), { recursive: true });
    await writeFile(join(tree, file), `${source}\n`);
  }
  reports = await lint(tree);
}, 60_000);

afterAll(async () => {
  await rm(tree, { recursive: true, force: true });
});

/** Every `file rule` pair that the linter reports in the tree. */
async function lint(directory: string): Promise<ReadonlySet<string>> {
  const manifest = createRequire(import.meta.url).resolve('oxlint/package.json');
  const bin = join(dirname(manifest), 'bin', 'oxlint');
  const output = await new Promise<string>((resolve, reject) => {
    const args = [bin, '--format', 'json', '.'];
    const options = { cwd: directory, maxBuffer: 64 * 1024 * 1024 };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (stdout.startsWith('{')) resolve(stdout);
      else reject(new Error(`oxlint gave no report: ${stdout}${stderr}`, { cause: error }));
    });
  });
  const { diagnostics } = JSON.parse(output) as {
    diagnostics: { filename: string; code: string }[];
  };
  return new Set(
    diagnostics.map(({ filename, code }) => {
      const file = relative(directory, join(directory, filename)).split(sep).join('/');
      return `${file} ${/\(([^)]+)\)/.exec(code)?.[1] ?? code}`;
    }),
  );
}

function wrongly(group: readonly Case[]): string[] {
  return group
    .filter(({ file, rule, reported }) => reports.has(`${file} ${rule}`) !== reported)
    .map(({ file, source, reported }) => `${reported ? 'missed' : 'reported'} ${file}: ${source}`);
}

describe('the rooms of the house', () => {
  test.each(Object.keys(house))('%s imports only the rooms below it', (room) => {
    const group = roomCases.filter(({ file }) => file.startsWith(`src/${room}/`));

    expect(group.length).toBeGreaterThan(20);
    expect(wrongly(group)).toEqual([]);
  });

  test.each(otherCases)('$rule reports $file: $reported', (one) => {
    expect(wrongly([one])).toEqual([]);
  });

  test('every folder of src is a room with rules', async () => {
    const entries = await readdir(join(root, 'src'), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    const rooms = new Set(Object.keys(house).map((room) => room.split('/')[0]));

    expect(folders.filter((folder) => !rooms.has(folder))).toEqual([]);
  });
});

describe('what the linter cannot see', () => {
  const exempt = /^(runtime|faults|testing)\/|^cli\/main\.ts$|\.test\.ts$/;

  async function sources(): Promise<{ file: string; code: string }[]> {
    const found: { file: string; code: string }[] = [];
    for await (const name of glob('**/*.ts', { cwd: join(root, 'src') })) {
      const text = await readFile(join(root, 'src', name), 'utf8');
      found.push({ file: name.split(sep).join('/'), code: withoutComments(text) });
    }
    return found;
  }

  function withoutComments(text: string): string {
    return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '');
  }

  test('no source outside the runtime reads the time by new Date()', async () => {
    const offenders = (await sources())
      .filter(({ file }) => !exempt.test(file))
      .filter(({ code }) => /\bnew Date\b(?!\s*\(\s*[^\s)])|(?<!new )\bDate\(/.test(code));

    expect(offenders.map(({ file }) => file)).toEqual([]);
  });

  test('no room imports the entry files beside the rooms', async () => {
    const offenders = (await sources()).filter(({ file, code }) => {
      const up = '../'.repeat(file.split('/').length - 1).replaceAll('.', String.raw`\.`);
      const entry = new RegExp(`(from|import\\()\\s*'${up}(index|http)\\.ts'`);
      return up !== '' && !file.endsWith('.test.ts') && entry.test(code);
    });

    expect(offenders.map(({ file }) => file)).toEqual([]);
  });
});
