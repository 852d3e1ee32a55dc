import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { startRedis } from '../../servers/index.ts';
import { cache } from '../../src/patterns/cache/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { redis } from '../../src/stores/redis/index.ts';
import { freshRedis, hasRedis } from '../support/servers.ts';

type Message =
  | { readonly kind: 'ready' }
  | { readonly kind: 'loading' }
  | { readonly kind: 'read'; readonly waitedMs: readonly number[]; readonly errors: number };

interface Reader extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly loadingAtMs: number[];
  readonly answer: Promise<Extract<Message, { kind: 'read' }>>;
}

async function reader(url: string, prefix: string, loadMs: number): Promise<Reader> {
  const worker = join(import.meta.dirname, 'cache-process-worker.ts');
  const child = fork(worker, [url, prefix, String(loadMs), '200']);
  const loadingAtMs: number[] = [];
  const answer = Promise.withResolvers<Extract<Message, { kind: 'read' }>>();
  const ready = Promise.withResolvers<void>();
  child.on('message', (message: Message) => {
    if (message.kind === 'ready') ready.resolve();
    else if (message.kind === 'loading') loadingAtMs.push(performance.now());
    else answer.resolve(message);
  });
  await ready.promise;
  return {
    child,
    loadingAtMs,
    answer: answer.promise,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

function p99(durations: readonly number[]): number {
  return (
    durations.toSorted((left, right) => left - right)[Math.floor(durations.length * 0.99)] ?? 0
  );
}

describe.skipIf(!hasRedis)('a cache of several processes', () => {
  test('loads a key once for 200 readers in each of 4 processes', async () => {
    await using fresh = await freshRedis();
    await using stack = new AsyncDisposableStack();
    const readers: Reader[] = [];
    for (let index = 0; index < 4; index += 1)
      readers.push(stack.use(await reader(fresh.url, fresh.prefix, 100)));
    for (const { child } of readers) child.send('read');
    const answers = await Promise.all(readers.map(({ answer }) => answer));
    const waitedMs = answers.flatMap((answer) => answer.waitedMs);
    console.info(`4 x 200 readers, a load of 100 ms: p99 ${p99(waitedMs).toFixed(1)} ms`);
    expect(answers.map(({ errors }) => errors)).toEqual([0, 0, 0, 0]);
    expect(waitedMs).toHaveLength(800);
    expect(readers.flatMap(({ loadingAtMs }) => loadingAtMs)).toHaveLength(1);
  });

  test('a process that is killed while it loads costs one more load, and nobody an error', async () => {
    await using fresh = await freshRedis();
    await using stack = new AsyncDisposableStack();
    const readers: Reader[] = [];
    for (let index = 0; index < 4; index += 1)
      readers.push(stack.use(await reader(fresh.url, fresh.prefix, 300)));
    const [holder, ...others] = readers;
    holder?.child.send('read');
    while (holder?.loadingAtMs.length === 0) await once(holder.child, 'message');
    for (const { child } of others) child.send('read');
    await systemClock.sleep(40);
    const killedAtMs = performance.now();
    holder?.child.kill('SIGKILL');
    const answers = await Promise.all(others.map(({ answer }) => answer));
    expect(answers.map(({ errors }) => errors)).toEqual([0, 0, 0]);
    const loads = others.flatMap(({ loadingAtMs }) => loadingAtMs);
    expect(loads).toHaveLength(1);
    const noticedMs = (loads[0] ?? Infinity) - killedAtMs;
    const waitedMs = answers.flatMap((answer) => answer.waitedMs);
    console.info(
      `killed: ${noticedMs.toFixed(1)} ms to the next load, p99 ${p99(waitedMs).toFixed(1)} ms`,
    );
    // 50 ms on a quiet machine; a busy one takes its time to end a process and to begin a load.
    expect(noticedMs).toBeLessThan(500);
  });

  test('a holder that cannot run keeps its lease', async () => {
    await using fresh = await freshRedis();
    await using holder = await reader(fresh.url, fresh.prefix, 300);
    await using other = await reader(fresh.url, fresh.prefix, 300);
    holder.child.send('read');
    while (holder.loadingAtMs.length === 0) await once(holder.child, 'message');
    holder.child.kill('SIGSTOP');
    other.child.send('read');
    await systemClock.sleep(400);
    holder.child.kill('SIGCONT');
    expect((await other.answer).errors).toBe(0);
    expect(other.loadingAtMs).toEqual([]);
  });

  test('with Redis hung or gone a miss costs its load and the limit; back again, nothing from before is believed', async () => {
    const server = await startRedis();
    try {
      const context = { name: 'cache', clock: systemClock, random: systemRandom };
      await using store = await redis({ url: server.url }).open(context);
      let version = 1;
      await using things = await cache<string, number>({
        name: 'things',
        store,
        near: {},
        ttl: '1m',
        early: 0,
        load: async () => {
          await systemClock.sleep(10);
          return version;
        },
      });
      expect(await things.get('a')).toBe(1);
      process.kill(server.pid, 'SIGSTOP');
      version = 2;
      const waits: number[] = [];
      let deleted;
      try {
        for (let index = 0; index < 20; index += 1) {
          const startedAtMs = performance.now();
          expect(await things.get(`b${index}`)).toBe(2);
          waits.push(performance.now() - startedAtMs);
        }
        deleted = await things.delete('a');
        expect(await things.get('a')).toBe(2);
      } finally {
        process.kill(server.pid, 'SIGCONT');
      }
      expect(deleted.kind).toBe('pending');
      const sorted = waits.toSorted((left, right) => left - right);
      console.info(
        `hung: a miss with a load of 10 ms takes ${sorted.at(10)?.toFixed(1)} ms (p50), ${sorted.at(-1)?.toFixed(1)} (max)`,
      );
      expect(things.stats().sharedState).toBe('down');
      while (things.stats().pending > 0) await systemClock.sleep(20);
      version = 3;
      expect(await things.get('a')).not.toBe(1);
      await server.kill();
      version = 4;
      expect(await things.get('new')).toBe(4);
      await server.restart();
      // Whatever the restarted server still has is from before: it is loaded anew.
      await expect
        .poll(() => things.inspect('a').catch(() => 'away'), { timeout: 10_000 })
        .toMatchObject({ entry: undefined });
      await expect
        .poll(() => things.read('a'), { timeout: 10_000 })
        .toMatchObject({ from: 'shared', value: 4 });
    } finally {
      await server.stop();
    }
  });
});
