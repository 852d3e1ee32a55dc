/** What a column may hold. Integers past 2^53 are BigInt; times are text or numbers, as stored. */
export type Scalar = null | boolean | number | bigint | string | Uint8Array;

/** A value inside a document: a scalar, or lists and objects of values. */
export type Value = Scalar | readonly Value[] | { readonly [name: string]: Value };

/** One row or document. */
export type Row = { readonly [name: string]: Value };

/** The values of a primary key, in the order of its columns. */
export type Key = readonly Scalar[];
