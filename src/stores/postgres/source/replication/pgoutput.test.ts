import { describe, expect, test } from 'vitest';
import { isTallyError } from '../../../../core/errors.ts';
import { PgOutputDecoder, type MessageHandler } from './pgoutput.ts';

/** Notes which messages it was told. */
class Told implements MessageHandler {
  readonly calls: string[] = [];
  begin(...all: readonly unknown[]): void {
    this.calls.push(`begin ${all.join(' ')}`);
  }
  commit(...all: readonly unknown[]): void {
    this.calls.push(`commit ${all.join(' ')}`);
  }
  relation(): void {
    this.calls.push('relation');
  }
  insert(oid: number): void {
    this.calls.push(`insert ${oid}`);
  }
  update(oid: number, kind: string): void {
    this.calls.push(`update ${oid} ${kind}`);
  }
  delete(oid: number, kind: string): void {
    this.calls.push(`delete ${oid} ${kind}`);
  }
  truncate(oids: readonly number[]): void {
    this.calls.push(`truncate ${oids.join(' ')}`);
  }
  message(prefix: string, content: () => string): void {
    this.calls.push(`message ${prefix}: ${content()}`);
  }
  streamStart(xid: number): void {
    this.calls.push(`stream ${xid}`);
  }
  streamStop(): void {
    this.calls.push('stop');
  }
  streamCommit({ xid }: { readonly xid: number }): void {
    this.calls.push(`commit of ${xid}`);
  }
  streamAbort(xid: number, subXid: number): void {
    this.calls.push(`abort ${xid} ${subXid}`);
  }
}

function decode(hex: string, from: 'committed' | 'in-progress' = 'committed'): readonly string[] {
  const told = new Told();
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  new PgOutputDecoder(told).decode(bytes, 0, bytes.length, from);
  return told.calls;
}

function codeOf(hex: string): string {
  try {
    return `nothing: ${decode(hex).join()}`;
  } catch (error) {
    return isTallyError(error) ? error.code : String(error);
  }
}

const insert = '49 00004001 4e 0001 74 00000001 31';

describe('messages of the output plugin', () => {
  test('that are not known are refused, never skipped', () => {
    for (const letter of ['b', 'P', 'K', 'r', 'p', 'Z', '\0'])
      expect(codeOf(`${Buffer.from(letter).toString('hex')} 00000000`), letter).toBe(
        'STORE_CORRUPT',
      );
    expect(codeOf('49 00004001 4e 0001 62 00000001 31'), 'a binary column').toBe('STORE_CORRUPT');
    expect(codeOf('44 00004001 4e 0001 6e'), 'a delete of no known kind').toBe('STORE_CORRUPT');
    expect(codeOf('55 00004001 4f 0001 6e'), 'an update without a row').toBe('STORE_CORRUPT');
  });

  test('that are cut off are refused', () => {
    const whole = insert.replaceAll(' ', '');
    for (let length = 2; length < whole.length; length += 2)
      expect(codeOf(whole.slice(0, length)), whole.slice(0, length)).toBe('STORE_CORRUPT');
    expect(codeOf('')).toBe('STORE_CORRUPT');
    expect(codeOf('52 00004001 7075')).toBe('STORE_CORRUPT');
  });

  test('are read with their transaction id within a block of a transaction in progress', () => {
    expect(decode(insert)).toEqual(['insert 16385']);
    expect(decode(insert.replace('49', '49 000002e5'), 'in-progress')).toEqual(['insert 16385']);
  });

  test('of origins and types say nothing about rows', () => {
    for (const letter of ['4f', '59']) expect(decode(`${letter} 00`)).toEqual([]);
  });

  test('of applications are told by what they begin with', () => {
    const message = '01 0000000000001000 746800 00000002 6869';
    expect(decode(`4d ${message}`)).toEqual(['message th: hi']);
    expect(decode(`4d 000002e5 ${message}`, 'in-progress')).toEqual(['message th: hi']);
    expect(codeOf(`4d ${message.replace('00000002', '00000009')}`)).toContain('STORE_CORRUPT');
  });
});
