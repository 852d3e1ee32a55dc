/** One command of the meta protocol (https://github.com/memcached/memcached/blob/master/doc/protocol.txt). */
export interface MetaRequest {
  /** `mg` get, `ms` set, `md` delete, `ma` arithmetic, `mn` no operation. */
  readonly verb: 'mg' | 'ms' | 'md' | 'ma' | 'mn';
  /** Of all but `mn`. Whatever is no printable ASCII is sent as base64, which names the same item. */
  readonly key?: string;
  /** With their arguments: `['v', 'c', 'N30']`. Neither `b`, `O` nor `q`, which belong to the connection. */
  readonly flags?: readonly string[];
  /** Of `ms` alone. */
  readonly value?: string | Uint8Array;
}

/** What goes before the value, and ends the command if there is none. `O` comes back with the answer. */
export function headOf(request: MetaRequest, opaque: number): string {
  const { verb, key, flags, value } = request;
  if (key === undefined) return `${verb}\r\n`;
  const isPlain = PLAIN.test(key);
  const name = isPlain ? key : Buffer.from(key).toString('base64');
  const size = value === undefined ? '' : ` ${bytesOf(value)}`;
  const rest = flags === undefined || flags.length === 0 ? '' : ` ${flags.join(' ')}`;
  return `${verb} ${name}${size}${isPlain ? '' : ' b'}${rest} O${opaque}\r\n`;
}

const PLAIN = /^[\u0021-\u007e]+$/;

/** Bytes that a value takes on the way. */
export function bytesOf(value: string | Uint8Array): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : value.length;
}
