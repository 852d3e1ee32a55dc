import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readOrderLines } from '../../examples/shop/input.ts';
import { fixture, runShop, startShop } from './run-shop.ts';

const LIMIT_MS = 60_000;
/** Real order lines, for who has them; see CONTRIBUTING. */
const realLines = process.env['TALLY_ORDER_LINES'];
const HEADER = 'InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID,Country';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tally-shop-input-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function fileOf(name: string, content: string | Uint8Array): Promise<string> {
  const file = join(directory, name);
  await writeFile(file, content);
  return file;
}

async function linesOf(content: string | Uint8Array): Promise<readonly unknown[]> {
  const lines: unknown[] = [];
  for await (const line of readOrderLines(await fileOf('lines.csv', content))) lines.push(line);
  return lines;
}

test(
  'sells every good line of a file, and tells the bad ones with their reasons',
  { timeout: LIMIT_MS },
  async () => {
    const { code, report, stderr } = await runShop(['--input', fixture, '--json']);
    expect(stderr).toContain('Nothing lost, doubled or left behind.');
    expect(code).toBe(0);
    expect(report).toMatchObject({ ok: true, lines: 188, linesReplayed: 188 });
    expect(report?.badLines.total).toBe(12);
    expect(report?.badLines.first[0]).toEqual({ line: 12, reason: '6 columns instead of 7' });
    expect(report?.badLines.first[8]).toEqual({ line: 132, reason: 'a quote that is not closed' });
    expect(report?.drift['salesReports']?.checked).toBe(188);
  },
);

test('sells a file once, also when it is given again', { timeout: LIMIT_MS }, async () => {
  const dir = join(directory, 'twice');
  const args = ['--input', fixture, '--json', '--dir', dir];
  await runShop(args);
  const { report } = await runShop(args);
  expect(report).toMatchObject({ ok: true, lines: 188, linesReplayed: 188 });
  expect(report?.badLines.total).toBe(12);
});

test('reads Latin-1 and UTF-8, line by line, plain and compressed', async () => {
  const line = (title: string): string => `1,A,${title},1,1,,Peru\n`;
  const content = Buffer.concat([
    Buffer.from(`\uFEFF${HEADER}\r\n${line('CAFÉ')}`, 'utf8'),
    Buffer.from(line('CAFÉ'), 'latin1'),
  ]);
  const titles = [
    expect.objectContaining({ title: 'CAFÉ' }),
    expect.objectContaining({ title: 'CAFÉ' }),
  ];
  expect(await linesOf(content)).toEqual(titles);
  expect(await linesOf(gzipSync(content))).toEqual(titles);
});

test('quoted commas and quotes, cancellations, returns, free and odd things are facts too', async () => {
  const lines = await linesOf(
    `${HEADER}\nC5,POST,"TRAY, 12"" ""BIG""",-3,0.001,17850,Côte\n6,gift 1,,0,-2.5,,EIRE\n`,
  );
  expect(lines).toEqual([
    {
      at: 2,
      invoice: 'C5',
      sku: 'POST',
      title: 'TRAY, 12" "BIG"',
      quantity: -3,
      priceMilli: 1,
      customerId: '17850',
      country: 'Côte',
    },
    {
      at: 3,
      invoice: '6',
      sku: 'gift 1',
      title: '',
      quantity: 0,
      priceMilli: -2_500,
      customerId: null,
      country: 'EIRE',
    },
  ]);
});

test('a line that is spoilt spoils no other, however long it is', async () => {
  const good = '1,A,x,1,1,,Peru\n';
  const lines = await linesOf(
    `${HEADER}\n${good}1,A,"open,1,1,,Peru\n${good}${'x'.repeat(1_000_000)}\n${good}\n1,A,"a"b"c",1,1,,Peru`,
  );
  expect(lines.map((line) => (line as { at: number }).at)).toEqual([2, 3, 4, 5, 6, 8]);
  expect(lines.filter((line) => 'reason' in (line as object))).toEqual([
    { at: 3, reason: 'a quote that is not closed' },
    { at: 5, reason: 'longer than 65536 bytes' },
  ]);
});

test.each([
  ['is not there', async () => join(directory, 'absent.csv')],
  ['is a directory', async () => directory],
  ['has other columns', async () => fileOf('other.csv', 'a,b,c\n1,2,3\n')],
  ['is empty', async () => fileOf('empty.csv', '')],
  [
    'is cut off',
    async () => fileOf('cut.csv.gz', gzipSync(await readFile(fixture)).subarray(0, -40)),
  ],
])(
  'a file that %s is INPUT_INVALID, with its path and a remedy',
  { timeout: LIMIT_MS },
  async (_what, make) => {
    const temporary = await mkdtemp(join(directory, 'temporary-'));
    const file = await make();
    const { code, stderr, stdout } = await runShop(['--input', file, '--json'], {
      TMPDIR: temporary,
    });
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('INPUT_INVALID');
    expect(stderr).toContain(file);
    expect(stderr).toContain('To mend it');
    expect(await readdir(temporary)).toEqual([]);
  },
);

test.each([
  [['--kil-every', '2s'], 'did you mean --kill-every?'],
  [['--for', 'ever'], '--for takes a duration'],
  [['--rate', '-1'], '--rate'],
  [['--json=yes'], '--json takes no value'],
  [['--plant', 'lost:recipts'], 'receipts'],
  [['10s'], 'is not an option'],
])('refuses %j with exit code 2', async (args, message) => {
  const { code, stderr } = await runShop(args);
  expect(stderr).toContain(message);
  expect(code).toBe(2);
});

test('tells its options on --help', async () => {
  const { code, stdout } = await runShop(['--help']);
  expect(code).toBe(0);
  expect(stdout).toContain('--kill-every');
});

test('a port that is taken is PORT_IN_USE, and nothing is left running', async () => {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const { code, stderr } = await runShop(['--for', '1s', '--port', String(port)]);
  server.close();
  expect(code).toBe(1);
  expect(stderr).toContain(`PORT_IN_USE: port ${port}`);
  expect(stderr).toContain('leave --port out');
});

test('a folder that cannot be made is STORE_UNREACHABLE', async () => {
  const file = await fileOf('file', '');
  const { code, stderr } = await runShop(['--for', '1s', '--dir', join(file, 'shop')]);
  expect(code).toBe(1);
  expect(stderr).toContain('STORE_UNREACHABLE');
  expect(stderr).toContain('give --dir a folder');
});

test(
  'a second shop on the same stores is refused, and the first goes on',
  { timeout: LIMIT_MS },
  async () => {
    const dir = join(directory, 'shared');
    const first = startShop(['--json', '--dir', dir]);
    await first.says(' orders, ');
    const second = await runShop(['--for', '1s', '--dir', dir]);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('STORE_BUSY');
    first.child.kill('SIGINT');
    const { code, stdout } = await first.ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
  },
);

test.skipIf(realLines === undefined)(
  `sells 50 000 real lines while its worker is killed${realLines === undefined ? ' (set TALLY_ORDER_LINES to their file)' : ''}`,
  { timeout: LIMIT_MS },
  async () => {
    const args = ['--input', realLines ?? '', '--kill-every', '4s', '--settle', '40s', '--json'];
    const { code, report, stderr } = await runShop(args);
    expect(stderr).toContain('Nothing lost, doubled or left behind.');
    expect(code).toBe(0);
    expect(report?.linesReplayed).toBeGreaterThan(50_000);
    expect(report?.drift['salesReports']?.checked).toBe(report?.linesReplayed);
  },
);
