import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import { TallyError } from 'tallystick';
import type { BadLine } from './orders/orders.ts';

// Reading a file of order lines: plain or gzip, UTF-8 or Latin-1, in bounded memory.

/** One line that can be sold. */
export interface InputLine {
  readonly at: number;
  readonly invoice: string;
  readonly sku: string;
  readonly title: string;
  readonly quantity: number;
  readonly priceMilli: number;
  readonly customerId: string | null;
  readonly country: string;
}

const COLUMNS = [
  'InvoiceNo',
  'StockCode',
  'Description',
  'Quantity',
  'UnitPrice',
  'CustomerID',
  'Country',
] as const;

/** Longer lines are not order lines; they are let go of without being held. */
const LINE_BYTES_MAX = 64 * 1024;
const NEWLINE = 0x0a;

/**
 * The lines of a file of orders, each as what was sold or as the reason why it cannot be. Throws
 * INPUT_INVALID if the file cannot be read, is damaged, or has other columns.
 */
export async function* readOrderLines(file: string): AsyncGenerator<InputLine | BadLine> {
  const bad: BadLine[] = [];
  const source = Readable.from(textLines(await bytesOf(file), bad));
  const parser = source.pipe(
    parse({
      info: true,
      relax_column_count: true,
      relax_quotes: true,
      skip_empty_lines: true,
      skip_records_with_error: true,
      on_skip: (error) => {
        bad.push({ at: Number(error?.['lines'] ?? 0), reason: error?.message ?? 'unreadable' });
        return undefined;
      },
    }),
  );
  source.on('error', (error) => parser.destroy(error));
  try {
    let header: readonly string[] | undefined;
    for await (const entry of parser) {
      const { record, info } = entry as { record: string[]; info: { lines: number } };
      yield* takeBefore(bad, info.lines);
      if (header === undefined) header = checkHeader(record, file);
      else yield readRecord(record, info.lines);
    }
    yield* takeBefore(bad, Infinity);
    if (header === undefined) checkHeader([], file);
  } catch (error) {
    throw unreadable(file, error);
  } finally {
    source.destroy();
  }
}

/**
 * Lines are read ahead of the records made of them, and a replay goes on after the highest number that it
 * committed: a bad line that was told of early would let it skip the good ones before.
 */
function takeBefore(bad: BadLine[], line: number): readonly BadLine[] {
  bad.sort((left, right) => left.at - right.at);
  const later = bad.findIndex(({ at }) => at >= line);
  return bad.splice(0, later < 0 ? bad.length : later);
}

/** Reads the header, so that a wrong file is refused before anything is started. Throws INPUT_INVALID. */
export async function checkInput(file: string): Promise<void> {
  const lines = readOrderLines(file);
  await lines.next();
  await lines.return(undefined);
}

async function bytesOf(file: string): Promise<AsyncIterable<Buffer>> {
  try {
    await using handle = await open(file, 'r');
    const magic = Buffer.alloc(2);
    await handle.read(magic, 0, 2, 0);
    const bytes = createReadStream(file);
    if (magic[0] !== 0x1f || magic[1] !== 0x8b) return bytes;
    const plain = createGunzip();
    bytes.on('error', (error) => plain.destroy(error));
    plain.on('close', () => bytes.destroy());
    return bytes.pipe(plain);
  } catch (error) {
    throw unreadable(file, error);
  }
}

/**
 * Text by lines. A record stands on one line: a quote that is not closed spoils its own line only, not
 * all that follows. A spoilt line is left empty, so that the numbers of the others are right.
 */
async function* textLines(
  bytes: AsyncIterable<Buffer>,
  bad: BadLine[],
): AsyncGenerator<string, void, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  let at = 0;
  let isTooLong = false;
  const textOf = (line: Buffer): string => {
    at += 1;
    const reason =
      isTooLong || line.length > LINE_BYTES_MAX
        ? `longer than ${LINE_BYTES_MAX} bytes`
        : hasOpenQuote(line)
          ? 'a quote that is not closed'
          : undefined;
    isTooLong = false;
    if (reason !== undefined) bad.push({ at, reason });
    return reason === undefined ? decode(line) : '';
  };
  for await (const chunk of bytes) {
    let from = 0;
    const texts: string[] = [];
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const part = chunk.subarray(from, end);
      texts.push(textOf(rest.length === 0 ? part : Buffer.concat([rest, part])));
      rest = Buffer.alloc(0);
      from = end + 1;
    }
    const tail = chunk.subarray(from);
    isTooLong ||= rest.length + tail.length > LINE_BYTES_MAX;
    rest = isTooLong ? Buffer.alloc(0) : Buffer.concat([rest, tail]);
    if (texts.length > 0) yield `${texts.join('\n')}\n`;
  }
  if (rest.length > 0 || isTooLong) yield `${textOf(rest)}\n`;
}

/** Line by line, since files that were joined from two exports mix both. Every text is valid Latin-1. */
function decode(line: Buffer): string {
  const text = isUtf8(line) ? line.toString('utf8') : line.toString('latin1');
  return text.replace(/^\uFEFF/, '').replace(/\r$/, '');
}

function hasOpenQuote(line: Buffer): boolean {
  let quotes = 0;
  for (let at = line.indexOf('"'); at >= 0; at = line.indexOf('"', at + 1)) quotes += 1;
  return quotes % 2 === 1;
}

function checkHeader(record: readonly string[], file: string): readonly string[] {
  const missing = COLUMNS.filter((name, index) => record[index]?.trim() !== name);
  if (missing.length === 0) return record;
  throw new TallyError('INPUT_INVALID', {
    what: `the first line does not name the columns of order lines (${missing.join(', ')})`,
    where: file,
    mend: `start the file with ${COLUMNS.join(',')}`,
  });
}

/** A record as a line that can be sold, or why it cannot be. */
function readRecord(record: readonly string[], at: number): InputLine | BadLine {
  if (record.length !== COLUMNS.length)
    return { at, reason: `${record.length} columns instead of ${COLUMNS.length}` };
  const [
    invoice = '',
    sku = '',
    title = '',
    quantity = '',
    price = '',
    customer = '',
    country = '',
  ] = record.map((field) => field.trim());
  if (!/^[A-Z]?\d{1,12}$/i.test(invoice))
    return { at, reason: `InvoiceNo ${shown(invoice)} is not a number, with C for a cancellation` };
  // Postage, fees and samples have codes of their own: whatever can be printed is one.
  if (!/^[\x20-\x7e]{1,32}$/.test(sku))
    return { at, reason: `StockCode ${shown(sku)} is not a code` };
  if (!/^[+-]?\d{1,9}$/.test(quantity))
    return { at, reason: `Quantity ${shown(quantity)} is not a whole number` };
  if (!/^-?\d{1,9}(\.\d{1,3})?$/.test(price))
    return { at, reason: `UnitPrice ${shown(price)} is not an amount` };
  if (!/^\d{0,12}$/.test(customer))
    return { at, reason: `CustomerID ${shown(customer)} is not a number` };
  // PostgreSQL keeps no such text.
  if (record.some((field) => field.includes('\0')))
    return { at, reason: 'it holds the character NUL' };
  if (country === '') return { at, reason: 'Country is empty' };
  return {
    at,
    invoice: invoice.toUpperCase(),
    sku,
    title,
    quantity: Number(quantity),
    priceMilli: Math.round(Number(price) * 1_000),
    customerId: customer === '' ? null : customer,
    country,
  };
}

function shown(text: string): string {
  return JSON.stringify(text.length > 20 ? `${text.slice(0, 20)}…` : text);
}

function unreadable(file: string, cause: unknown): unknown {
  if (cause instanceof TallyError) return cause;
  const what = cause instanceof Error ? cause.message : String(cause);
  return new TallyError('INPUT_INVALID', {
    what: `the file of order lines cannot be read: ${what}`,
    where: file,
    mend: 'give the path of a CSV file, plain or gzip, that this user may read',
    cause,
  });
}
