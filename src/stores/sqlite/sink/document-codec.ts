import { decodeRow, encodeValue } from '../../../core/codec.ts';
import { keyOfText, keyText } from '../../../core/key-text.ts';
import type { RowCodec } from './layout.ts';
import { checkSize } from './refusal.ts';

/**
 * Keys as text, rows as canonical JSON: what goes in comes out the same. With `expiry`, the value
 * columns end with the millisecond at which the row expires.
 */
export function documentCodec(
  rowBytesMax: number,
  expiry: { readonly ttlMs: number | undefined } | undefined,
): RowCodec {
  return {
    bindKey(key, into) {
      into[0] = keyText(key);
    },
    bindRow(_key, row, into, at, nowMs) {
      const text = encodeValue(row);
      checkSize(text, rowBytesMax);
      into[at] = text;
      if (expiry === undefined) return;
      into[at + 1] = expiry.ttlMs === undefined ? null : Math.ceil(nowMs + expiry.ttlMs);
    },
    read(record) {
      return { key: keyOfText(String(record[0])), row: decodeRow(String(record[1])) };
    },
  };
}
