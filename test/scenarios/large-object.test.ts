import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const run = promisify(execFile);
/** 1024 for the whole gigabyte; a smaller one shows as well that memory does not follow the size. */
const MEGABYTES = Number(process.env['TALLY_LARGE_OBJECT_MIB'] ?? 256);
/** What streaming may hold: some chunks, and what the garbage collector has not looked at yet. */
const GREW_MIB_MAX = 100;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tally-large-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

test(
  `an object of ${MEGABYTES} MiB goes in by parts and comes out the same, in bounded memory`,
  { timeout: 120_000 },
  async () => {
    const { stdout } = await run(process.execPath, [
      '--disable-warning=ExperimentalWarning',
      '--conditions=tallystick-source',
      fileURLToPath(new URL('large-object-process.ts', import.meta.url)),
      directory,
      String(MEGABYTES),
    ]);
    const { size, isSame, grewMib } = JSON.parse(stdout) as {
      readonly size: number;
      readonly isSame: boolean;
      readonly grewMib: number;
    };
    expect({ size, isSame }).toEqual({ size: MEGABYTES * 2 ** 20, isSame: true });
    expect(grewMib).toBeLessThan(GREW_MIB_MAX);
  },
);
