import { execFile } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// Every `ts` block of the documentation is a module of its own and is type-checked; one marked `ts run` is
// also executed in an empty directory, and prints what the `text output` block behind it shows.

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const pages = ['*.md', 'docs/**/*.md', 'examples/**/*.md', 'bench/**/*.md']
  .flatMap((pattern) => globSync(pattern, { cwd: root }))
  .map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }));

interface Block {
  readonly name: string;
  readonly info: string;
  readonly code: string;
  readonly next: { readonly info: string; readonly code: string } | undefined;
}

const blocks: readonly Block[] = pages.flatMap(({ file, text }) => {
  const found = [...text.matchAll(/^```([^\n`]*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    info: match[1] ?? '',
    code: match[2] ?? '',
    line: text.slice(0, match.index).split('\n').length,
  }));
  return found.map(({ info, code, line }, index) => ({
    name: `${file}:${line}`,
    info,
    code,
    next: found[index + 1],
  }));
});
const samples = blocks.filter(({ info }) => /^(ts|typescript)\b/.test(info));

// Inside the repository, where `tallystick` is found by its own name.
let directory: string;
const fileOf = (sample: Block): string =>
  join(directory, `${sample.name.replaceAll(/[^\w-]+/g, '_')}.ts`);

beforeAll(async () => {
  await mkdir(join(root, '.tally'), { recursive: true });
  directory = await mkdtemp(join(root, '.tally', 'samples-'));
  for (const sample of samples) await writeFile(fileOf(sample), sample.code);
  const config = {
    extends: '../../tsconfig.json',
    compilerOptions: {
      noUnusedLocals: false,
      noUnusedParameters: false,
      declaration: false,
      isolatedDeclarations: false,
      typeRoots: ['../../node_modules/@types'],
    },
    include: ['*.ts'],
  };
  await writeFile(join(directory, 'tsconfig.json'), JSON.stringify(config));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

test('every sample passes the type check', { timeout: 120_000 }, async () => {
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  const bin = join(dirname(manifest), 'bin', 'tsc');
  const output = await run(process.execPath, [bin, '-p', directory, '--pretty', 'false']).then(
    () => '',
    (error: { readonly stdout: string; readonly stderr: string }) => error.stdout + error.stderr,
  );
  // What is wrong in the sources themselves is for the type check of the project to say.
  const ofSamples = output.split('\n').filter((line) => line.includes('samples-'));
  expect(samples.length).toBeGreaterThan(10);
  expect(ofSamples.join('\n')).toBe('');
});

const executed = samples.filter(({ info }) => info === 'ts run');
describe('samples that are marked to run', () => {
  test.each(executed.map((sample) => [sample.name, sample] as const))(
    '%s runs and prints what the page shows',
    { timeout: 60_000 },
    async (_name, sample) => {
      const cwd = await mkdtemp(join(tmpdir(), 'tallystick-sample-'));
      try {
        const flags = ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'];
        const env = { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1' };
        const { stdout } = await run(process.execPath, [...flags, fileOf(sample)], { cwd, env });
        if (sample.next?.info === 'text output') expect(stdout).toBe(sample.next.code);
      } finally {
        await rm(cwd, { recursive: true, force: true });
      }
    },
  );
});

describe.each(pages)('$file', ({ file, text }) => {
  test('its links lead somewhere', () => {
    const prose = text.replaceAll(/^```[\s\S]*?^```$/gm, '');
    const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
    const broken = targets
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => !leadsSomewhere(file, target));
    expect(broken).toEqual([]);
  });

  test('it names no path of a machine and no host of its own', () => {
    expect(text.match(/\/(?:home|work|root|Users|tmp)\/\S*|\blocalhost\b\S*/g) ?? []).toEqual([]);
  });
});

function leadsSomewhere(file: string, target: string): boolean {
  const [path = '', anchor] = target.split('#');
  const absolute = path === '' ? join(root, file) : resolve(root, dirname(file), path);
  if (relative(root, absolute).startsWith('..') || !existsSync(absolute)) return false;
  if (anchor === undefined) return true;
  const headings = [...readFileSync(absolute, 'utf8').matchAll(/^#+ (.+)$/gm)];
  return headings.some(([, heading = '']) => slug(heading) === anchor);
}

/** The anchor that a heading gets where Markdown is shown. */
function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}
