import { once } from 'node:events';
import { createServer } from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import type { AppStatus, Evidence } from 'tallystick';
import { evidenceHeaders, evidenceRefusals, withRequestEvidence } from 'tallystick/http';
import { appFile, start, type Running } from '../support/cli.ts';
import { copied, inFolder, openCopy, owned, until, WITHIN, write } from '../support/copy-app.ts';

/** The newest status line of a worker that prints them. */
function lastStatus(lines: readonly string[]): AppStatus | undefined {
  const line = lines.at(-1);
  return line === undefined ? undefined : (JSON.parse(line) as AppStatus);
}

function linesOf(running: Running): string[] {
  const lines: string[] = [];
  let rest = '';
  running.child.stdout?.on('data', (text: string) => {
    const parts = `${rest}${text}`.split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  });
  return lines;
}

function foreign(dir: string, sql: string): void {
  using db = new DatabaseSync(join(dir, 'orders.db'), { timeout: 5_000 });
  db.exec(sql);
}

test('of two processes on one ledger one works and one stands by; it takes over at once when the first is killed', () =>
  inFolder(async (dir) => {
    const env = { COPY_DIR: dir };
    await using first = start(['up', appFile, '--json'], env);
    const firstLines = linesOf(first);
    await until(() => (lastStatus(firstLines)?.flows[0]?.state === 'streaming' ? true : undefined));
    await using second = start(['up', appFile, '--json'], env);
    const secondLines = linesOf(second);
    const standing = await until(() => {
      const status = lastStatus(secondLines);
      const parts = [...(status?.lanes ?? []), ...(status?.flows ?? [])];
      return parts.length === 2 && parts.every(({ worker }) => worker.kind === 'standby')
        ? status
        : undefined;
    });
    expect(standing.flows[0]?.worker).toMatchObject({ message: expect.stringContaining('held') });
    foreign(dir, "INSERT INTO products (sku, title) VALUES ('before', '1')");
    await until(() => (copied(dir)['before'] === '1' ? true : undefined));

    const killedAtMs = performance.now();
    await first.kill('SIGKILL');
    foreign(dir, "INSERT INTO products (sku, title) VALUES ('after', '1')");
    await until(() => (copied(dir)['after'] === '1' ? true : undefined));
    // A lease runs out after ten seconds: a dead owner on this machine is seen at once.
    expect(performance.now() - killedAtMs).toBeLessThan(6_000);
    expect(copied(dir)).toEqual(owned(dir));
    expect((await second.kill('SIGTERM')).code).toBe(0);
  }));

test('evidence from the future, of another epoch and of an unknown lane each have an outcome of their own', () =>
  inFolder(async (dir) => {
    await using app = await openCopy(dir);
    const after = await write(app, { a: '1' });
    expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
    const head = after.get('orders')?.[0]?.offset ?? 0;
    const at = (lane: string, epoch: number, offset: number): Evidence =>
      new Map([[lane, [{ epoch, offset }]]]);
    const read = (evidence: Evidence) =>
      app.read('search', { after: evidence, within: '30ms' }, () => 'read');

    const future = at('orders', 1, head + 1_000);
    expect(await app.barrier('search', { after: future, within: '30ms' })).toMatchObject({
      kind: 'timeout',
      seen: [{ flow: 'copy', lane: 'orders', offsets: 1_000 }],
    });
    await expect(read(future)).rejects.toMatchObject({ code: 'BARRIER_TIMEOUT' });

    const nextEpoch = at('orders', 2, 1);
    expect((await app.barrier('search', { after: nextEpoch, within: '30ms' })).kind).toBe(
      'timeout',
    );
    const earlier = at('orders', 0, 1);
    expect((await app.barrier('search', { after: earlier, within: WITHIN })).kind).toBe(
      'incomparable',
    );
    await expect(read(earlier)).rejects.toMatchObject({ code: 'BARRIER_INCOMPARABLE' });

    const unknown = at('elsewhere', 1, 1);
    expect(await app.barrier('search', { after: unknown, within: WITHIN })).toEqual({
      kind: 'unsupported',
      lanes: ['elsewhere'],
    });
    await expect(read(unknown)).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' });
  }));

test('hostile evidence headers change nothing but the count of refusals, and no request fails', () =>
  inFolder(async (dir) => {
    await using app = await openCopy(dir);
    const after = await write(app, { a: '1' });
    await app.barrier('search', { after, within: WITHIN });
    const heads = () => app.heads();
    const server = createServer((request, response) => {
      const answer = withRequestEvidence(
        request,
        async () => {
          const options = { within: '20ms', otherwise: 'stale' } as const;
          const { value, freshness } = await app.read('search', options, () => copied(dir));
          return { value, freshness, passedOn: evidenceHeaders({ heads }) };
        },
        { heads },
      );
      answer.then(
        (body) => response.end(JSON.stringify(body)),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const refusals = (): number =>
      evidenceRefusals.EVIDENCE_MALFORMED + evidenceRefusals.EVIDENCE_TOO_LARGE;
    try {
      for (const [baggage, kind, refused] of [
        ['tally-evidence=v1~orders@1.999999999', 'timeout', 0],
        ['tally-evidence=v1~orders@8191.1', 'timeout', 0],
        ['tally-evidence=v1~orders@0.1', 'incomparable', 0],
        ['tally-evidence=v1~unknown@1.1', 'fresh', 0],
        ['tally-evidence=v1~orders@1.1.1', 'fresh', 1],
        ['tally-evidence=v2~orders@1.1', 'fresh', 1],
        ['tally-evidence=v1~orders@99999.1', 'fresh', 1],
        ['tally-evidence=v1~orders@1.-5', 'fresh', 1],
        ['tally-evidence=%E0%A4%A', 'fresh', 1],
        ['tally-evidence=', 'fresh', 1],
        [`tally-evidence=v1${'~orders@1.1'.repeat(900)}`, 'fresh', 1],
        ['tally-evidence=v1~orders@1.1,tally-evidence=v1~orders@1.2', 'fresh', 1],
        ['tally-evidence=v1~__proto__@1.1', 'fresh', 0],
        [`other=${'x'.repeat(9_000)}`, 'fresh', 0],
      ] as const) {
        const before = refusals();
        const response = await fetch(`http://127.0.0.1:${port}`, { headers: { baggage } });
        expect(response.status, baggage).toBe(200);
        const body = (await response.json()) as { passedOn: { baggage?: string } };
        expect(body, baggage).toMatchObject({ freshness: { kind }, value: { a: '1' } });
        expect(refusals() - before, baggage).toBe(refused);
        expect(body.passedOn.baggage ?? '', baggage).not.toMatch(/999999|8191|unknown/);
      }
      expect(await raw(port, 'tally-evidence=v1~orders@1.1\u00ff\u0001')).toMatch(
        /^HTTP\/1\.1 (200|400)/,
      );
    } finally {
      server.close();
    }
    expect(copied(dir)).toEqual(owned(dir));
  }));

/** What a server answers to a header that no client library would send. */
async function raw(port: number, baggage: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(
    Buffer.from(
      `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nBaggage: ${baggage}\r\n\r\n`,
      'latin1',
    ),
  );
  const [data] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return data.toString('latin1');
}
