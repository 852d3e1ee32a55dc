import { decodeRow, encodeValue } from '../../../core/codec.ts';
import { keyOfText, keyText } from '../../../core/key-text.ts';
import type { RowCodec, SentColumn } from './layout.ts';
import { checkJson, checkSize } from './refusal.ts';

const columns: readonly SentColumn[] = [
  { name: 'key', cast: 'text', bytes: false },
  { name: 'document', cast: 'jsonb', bytes: false },
];
const expiresAt: SentColumn = { name: 'expires_at', cast: 'timestamptz', bytes: false };

/**
 * Keys as text, rows as canonical JSON: what goes in comes out the same, but for the order of members. With
 * `expiry`, the value columns end with the instant at which the row expires.
 */
export function documentCodec(
  rowBytesMax: number,
  expiry: { readonly ttlMs: number | undefined } | undefined,
): RowCodec {
  return {
    sent: expiry === undefined ? columns : [...columns, expiresAt],
    bindKey(key, into) {
      into[0] = keyText(key);
    },
    bindRow(_key, row, into, nowMs) {
      const text = encodeValue(row);
      checkSize(text, rowBytesMax);
      checkJson(text);
      into[1] = text;
      if (expiry === undefined) return;
      into[2] =
        expiry.ttlMs === undefined ? null : new Date(Math.ceil(nowMs + expiry.ttlMs)).toISOString();
    },
    read(record) {
      return { key: keyOfText(String(record[0])), row: decodeRow(String(record[1])) };
    },
  };
}
