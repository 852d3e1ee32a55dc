import { storeDocuments } from './sources/stores.ts';
import { systemDocuments } from './sources/systems.ts';
import { testDocuments } from './sources/tests.ts';

/** A document that facts of the catalogue were read in. */
export interface Source {
  readonly title: string;
  /** Empty for what is no document. */
  readonly url: string;
  /** The day it was published or last changed, if it says so; the day it was read otherwise. */
  readonly date: string;
}

/** The short name of a document. */
export type SourceId =
  | 'unchecked'
  | 'judgement'
  | keyof typeof testDocuments
  | keyof typeof storeDocuments
  | keyof typeof systemDocuments;

/**
 * Every document that a fact may name. `unchecked` stands for what nobody has looked up, `judgement` for estimates of
 * our own; facts of these two have low confidence, and everything that shows a fact shows that.
 */
export const sources: Readonly<Record<SourceId, Source>> = {
  unchecked: { title: 'general knowledge, not looked up', url: '', date: '2026-11-30' },
  judgement: { title: 'an estimate of our own', url: '', date: '2026-11-30' },
  ...named(testDocuments),
  ...named(storeDocuments),
  ...named(systemDocuments),
};

function named<Id extends string>(
  rows: Readonly<Record<Id, readonly [title: string, url: string, date: string]>>,
): Record<Id, Source> {
  return Object.fromEntries(
    Object.entries<readonly [string, string, string]>(rows).map(([id, [title, url, date]]) => [
      id,
      { title, url, date },
    ]),
  ) as Record<Id, Source>;
}
