import { execFileSync } from 'node:child_process';
import { fdatasyncSync, openSync, closeSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** What a result was measured on: numbers without it say nothing. */
export interface Environment {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  /** Appends of 4 KiB a second, each made durable. */
  readonly diskSyncsPerSecond: number;
  readonly node: string;
  readonly sqlite: string;
  readonly duckdb: string;
  readonly date: string;
  readonly commit: string;
  /** Work on the machine over the last minute, before and after; above 1 the benchmark was not alone. */
  readonly load: { readonly before: number; readonly after: number };
}

const PROBE_MS = 500;

/** Looks at the machine; `dir` is on the disk that is measured. */
export async function environment(dir: string, loadBefore: number): Promise<Environment> {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    diskSyncsPerSecond: syncRate(join(dir, 'sync-probe')),
    node: process.versions.node,
    sqlite: sqliteVersion(),
    duckdb: await duckdbVersion(),
    date: new Date().toISOString(),
    commit: commit(),
    load: { before: round(loadBefore), after: round(loadNow()) },
  };
}

/** The one-minute load average of the machine. */
export function loadNow(): number {
  return loadavg()[0] ?? 0;
}

function syncRate(file: string): number {
  const handle = openSync(file, 'w');
  try {
    const page = Buffer.alloc(4_096, 1);
    const startedMs = performance.now();
    let count = 0;
    for (; performance.now() - startedMs < PROBE_MS; count++) {
      writeSync(handle, page);
      fdatasyncSync(handle);
    }
    return Math.round((count * 1_000) / (performance.now() - startedMs));
  } finally {
    closeSync(handle);
    rmSync(file);
  }
}

function sqliteVersion(): string {
  const database = new DatabaseSync(':memory:');
  const version = database.prepare('SELECT sqlite_version() AS version').get()?.['version'];
  database.close();
  return String(version);
}

async function duckdbVersion(): Promise<string> {
  const { version } = await import('@duckdb/node-api');
  return version();
}

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { encoding: 'utf8', cwd: import.meta.dirname }).trim();
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', '../../src');
    return `${git('rev-parse', '--short', 'HEAD')}${changed === '' ? '' : ' and changes'}`;
  } catch {
    return 'unknown';
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
