import { decodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import type { KeyValueEntry } from '../../../ports/key-value.ts';

/** `<version>,<expires at, or nothing>;`, before the canonical text. */
const HEAD = /^(\d{1,16}),(\d{0,15});/;

/** The entry that an answer of GET stands for. Throws VALUE_UNSUPPORTED for what somebody else has written. */
export function decodeEntry(reply: string | null, key: string): KeyValueEntry | undefined {
  if (reply === null) return undefined;
  const [head, version, expiresAtMs] = HEAD.exec(reply) ?? [];
  if (head === undefined)
    throw new TallyError('VALUE_UNSUPPORTED', {
      what: 'a stored value cannot be read: it has no version',
      mend: 'look for what wrote it other than Tallystick; setting the key anew replaces it',
      details: { key },
    });
  return {
    value: decodeValue(reply.slice(head.length)),
    version: Number(version),
    expiresAtMs: expiresAtMs === '' ? undefined : Number(expiresAtMs),
  };
}
