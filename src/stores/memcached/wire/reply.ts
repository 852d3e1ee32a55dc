/**
 * How a command of the meta protocol ended. `HD` done, `VA` a value follows, `EN` there is none, `NF` not found, `NS` not
 * stored, `EX` the condition on the version failed, `MN` the answer to `mn`.
 */
export type MetaStatus = 'HD' | 'VA' | 'EN' | 'NF' | 'NS' | 'EX' | 'MN';

/** The answer to one command of the meta protocol. */
export interface MetaReply {
  readonly status: MetaStatus;
  /** Of `VA` alone; the caller's own copy. */
  readonly value: Buffer | undefined;
  /** As they came: `c12` the version, `t-1` the seconds left, `W` won, `X` stale, `Z` somebody else has won. */
  readonly flags: readonly string[];
}

/** Whatever a server may answer. */
export type Reply =
  | ({ readonly kind: 'meta' } & MetaReply)
  /** `ERROR`, `CLIENT_ERROR …`, `SERVER_ERROR …`. */
  | { readonly kind: 'error'; readonly text: string }
  /** A line of a classic command: `STAT …`, `key=…`, `END`, `STORED`, `VERSION …`. */
  | { readonly kind: 'line'; readonly text: string };

/** The argument of a flag, such as 12 of `c12`; undefined if the reply has no such flag, or it is no number. */
export function numberFlag(reply: MetaReply, name: string): number | undefined {
  const flag = reply.flags.find((one) => one.startsWith(name));
  if (flag === undefined || flag.length === 1) return undefined;
  const value = Number(flag.slice(1));
  return Number.isSafeInteger(value) ? value : undefined;
}
