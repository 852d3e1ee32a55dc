import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import type { Unpacked } from './debian.ts';
import { onPath } from './place.ts';

const run = promisify(execFile);

/** A server's program, where it was found. */
export interface Program extends Unpacked {
  /** What it says of itself. */
  readonly said: string;
  readonly version: string;
  /** For people: where it comes from. */
  readonly how: string;
}

/** Finds the first of these programs on PATH, else fetches Debian's package. */
export async function findProgram(
  names: readonly string[],
  askVersion: readonly string[],
  fetch: () => Promise<Unpacked>,
): Promise<Program> {
  const path = await onPath(...names);
  if (path !== undefined) {
    return described({ command: path, args: [], env: {} }, askVersion, `${basename(path)} on PATH`);
  }
  return described(await fetch(), askVersion, 'package of Debian, fetched');
}

/** Asks a program for its version. */
export async function described(
  program: Unpacked,
  askVersion: readonly string[],
  how: string,
): Promise<Program> {
  const env = { ...process.env, ...program.env };
  const { stdout, stderr } = await run(program.command, [...program.args, ...askVersion], { env });
  const said = `${stdout}${stderr}`;
  return {
    ...program,
    said,
    version: /\d+\.\d+\.\d+/.exec(said)?.[0] ?? 'of unknown version',
    how,
  };
}
