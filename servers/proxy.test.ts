import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Proxy, startProxy } from './proxy.ts';

let echo: Server;
let arrived: string;
let proxy: Proxy;
const clients: Socket[] = [];

beforeEach(async () => {
  arrived = '';
  echo = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      arrived += chunk.toString();
      socket.write(chunk);
    });
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const address = echo.address();
  proxy = await startProxy(typeof address === 'object' && address !== null ? address.port : 0);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy.stop();
  echo.close();
});

async function open(): Promise<Socket> {
  const client = connect(proxy.port, '127.0.0.1');
  clients.push(client);
  await once(client, 'connect');
  return client;
}

async function said(client: Socket, text: string): Promise<string> {
  client.write(text);
  const [chunk] = (await once(client, 'data')) as [Buffer];
  return chunk.toString();
}

test('passes what is sent and answered, and the end', async () => {
  const client = await open();
  expect(await said(client, 'hello')).toBe('hello');
  expect(proxy.connections()).toBe(1);
  client.end();
  await once(client, 'close');
  await expect.poll(() => proxy.connections()).toBe(0);
});

test('passes much more than it holds at once, in order', async () => {
  const client = await open();
  const sent = Buffer.alloc(8 * 1_048_576, 'abcdefg');
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  client.end(sent);
  await once(client, 'end');
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
});

test('passes nothing while half-open, keeps both ends open, and delivers it when healed', async () => {
  const client = await open();
  await said(client, 'first');
  proxy.blackhole();
  let heard = '';
  client.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  client.write('second');
  const late = await open();
  late.write('third');
  // A connection beside the proxy goes there and back meanwhile: had anything been passed, it would have arrived.
  const { port } = echo.address() as { readonly port: number };
  const direct = connect(port, '127.0.0.1');
  clients.push(direct);
  for (let round = 0; round < 20; round += 1) {
    await said(direct, '.');
    await turn();
  }
  expect(arrived.replaceAll('.', '')).toBe('first');
  expect(heard).toBe('');
  expect(client.destroyed || late.destroyed).toBe(false);

  await proxy.heal();
  await expect.poll(() => heard).toBe('second');
  await expect.poll(() => arrived).toContain('third');
});

test('does not pass the end of a connection while half-open', async () => {
  const client = await open();
  await said(client, 'first');
  let servers = await openOf(echo);
  expect(servers).toBe(1);
  proxy.blackhole();
  client.resetAndDestroy();
  await once(client, 'close');
  for (let round = 0; round < 20; round += 1) await turn();
  servers = await openOf(echo);
  expect(servers).toBe(1);
  await proxy.heal();
  await expect.poll(() => openOf(echo)).toBe(0);
});

function openOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  );
}

test('resets what is open and refuses what is new while cut, until healed', async () => {
  const client = await open();
  await said(client, 'first');
  const failed = once(client, 'error');
  await proxy.cut();
  const [error] = (await failed.catch((thrown: unknown) => [thrown])) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
  await expect(open()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await proxy.heal();
  expect(await said(await open(), 'again')).toBe('again');
});

test('delivers later when slow, in both directions', async () => {
  const client = await open();
  await said(client, 'first');
  proxy.slow(100);
  const began = performance.now();
  expect(await said(client, 'second')).toBe('second');
  // Timers may fire a millisecond early.
  expect(performance.now() - began).toBeGreaterThanOrEqual(195);
});
