import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const main = join(import.meta.dirname, 'main.ts');

async function servers(...args: readonly string[]): Promise<{ code: number; stderr: string }> {
  try {
    const { stderr } = await run(process.execPath, [
      '--conditions=tallystick-source',
      main,
      ...args,
    ]);
    return { code: 0, stderr };
  } catch (error) {
    return error as { code: number; stderr: string };
  }
}

test('refuses a command or a server that it does not know, with its usage', async () => {
  for (const args of [[], ['start'], ['up', 'oracle']]) {
    const { code, stderr } = await servers(...args);
    expect(code).toBe(2);
    expect(stderr).toContain(
      'usage: npm run servers -- up|down|status|find [postgres] [redis] [memcached] [kafka] [mariadb]',
    );
  }
});
