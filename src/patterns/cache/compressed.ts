import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions } from '../../core/options.ts';
import type { Serialiser } from './envelope.ts';

/** Below this a compressed value is hardly smaller, and costs more to read. */
const COMPRESS_FROM_BYTES = 1_024;
/** A value that grows past this when it is unpacked was not written here. */
const UNPACKED_BYTES_MAX: number = 256 * 2 ** 20;
/** Fast: a tenth of the time of the default for some percent more bytes. */
const QUALITY = 4;

const RAW = 0;
const BROTLI = 1;

/**
 * Values in the shared tier as Brotli where that is smaller, behind any serialiser. It works in the calling thread: some
 * 10 µs for each KiB. Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION.
 */
export function compressed<Value>(
  serialiser: Serialiser<Value>,
  options: { readonly fromBytes?: number } = {},
): Serialiser<Value> {
  checkOptions(options, ['fromBytes'], 'compressed');
  const { fromBytes = COMPRESS_FROM_BYTES } = options;
  checkNumber(fromBytes, 'compressed.fromBytes', { min: 0, integer: true });
  return {
    payload: 'bytes',
    encode(value) {
      const payload = serialiser.encode(value);
      const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
      if (bytes.byteLength < fromBytes) return Buffer.concat([Buffer.of(RAW), bytes]);
      const packed = brotliCompressSync(bytes, {
        params: { [constants.BROTLI_PARAM_QUALITY]: QUALITY },
      });
      return packed.byteLength < bytes.byteLength
        ? Buffer.concat([Buffer.of(BROTLI), packed])
        : Buffer.concat([Buffer.of(RAW), bytes]);
    },
    decode(payload) {
      const bytes = typeof payload === 'string' ? Buffer.from(payload) : Buffer.from(payload);
      const bare = unpack(bytes);
      return serialiser.decode(serialiser.payload === 'text' ? bare.toString('utf8') : bare);
    },
  };
}

function unpack(bytes: Buffer): Buffer {
  const rest = bytes.subarray(1);
  switch (bytes[0]) {
    case RAW:
      return rest;
    case BROTLI:
      return brotliDecompressSync(rest, { maxOutputLength: UNPACKED_BYTES_MAX });
    default:
      throw new TallyError('VALUE_UNSUPPORTED', {
        what: 'a cached value is not one that was compressed here',
        mend: 'give the cache another name when its serialiser changes',
      });
  }
}
