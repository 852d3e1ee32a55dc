import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import { isDeadProcess, ownProcess } from './owner.ts';

test('this process is alive', () => {
  expect(isDeadProcess(ownProcess())).toBe(false);
});

test('a process that was killed is dead', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(child, 'spawn');
  const owner = JSON.stringify({ host: hostname(), pid: child.pid, start: '' });
  expect(isDeadProcess(owner)).toBe(false);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isDeadProcess(owner)).toBe(true);
});

test.runIf(process.platform === 'linux')(
  'a pid that another process has by now is a dead owner',
  () => {
    const owner = JSON.parse(ownProcess()) as Record<string, unknown>;
    expect(owner['start']).toMatch(/^\d+$/);
    expect(isDeadProcess(JSON.stringify({ ...owner, start: '1' }))).toBe(true);
  },
);

test.each([
  ['another host', JSON.stringify({ host: 'elsewhere', pid: 2 ** 22 + 1, start: '' })],
  ['text that is no owner', 'worker-1'],
  ['null', 'null'],
  ['a number', '7'],
  ['a pid that is no number', JSON.stringify({ host: hostname(), pid: '1' })],
  ['a group of processes', JSON.stringify({ host: hostname(), pid: -1 })],
  ['every process', JSON.stringify({ host: hostname(), pid: 0 })],
  ['a fraction', JSON.stringify({ host: hostname(), pid: 1.5 })],
])('nothing is concluded from %s: it counts as alive', (_what, owner) => {
  expect(isDeadProcess(owner)).toBe(false);
});
