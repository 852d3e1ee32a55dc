/** For a guard, and for a system that is not listed: small enough for any IN-list. */
const KEYS_MAX_DEFAULT = 500;

/**
 * Keys of one batch, by system: hard limits where there are some, otherwise what is answered well. Beyond, a
 * batch becomes several that run side by side.
 */
const keysMaxBySystem: ReadonlyMap<string, number> = new Map([
  // BatchGetItem takes 100 keys and no more.
  ['dynamodb', 100],
  // Each partition of an IN is fetched by one coordinator, which holds them all.
  ['cassandra', 100],
  // One MGET holds up the whole server while it runs.
  ['redis', 250],
  ['memcached', 250],
  // One document each in the answer of _mget; 10 000 is where result windows end.
  ['elasticsearch', 1_000],
  ['mongodb', 1_000],
  ['mysql', 1_000],
  // = ANY($1) has one parameter; plans stay index scans well beyond.
  ['postgres', 1_000],
  // 32 766 variables at most; json_each takes any number.
  ['sqlite', 1_000],
  ['duckdb', 1_000],
  ['memory', 1_000],
  // A file is opened for each.
  ['files', 50],
]);

/** Keys of one batch for a system; a default for one that is not known. */
export function keysMaxOf(system: string | undefined): number {
  return (system === undefined ? undefined : keysMaxBySystem.get(system)) ?? KEYS_MAX_DEFAULT;
}
