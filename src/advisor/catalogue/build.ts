import { known, recalled, type Fact, type Known } from '../fact.ts';
import type { SourceId } from '../sources.ts';
import type {
  CapClass,
  Configuration,
  Durability,
  Guarantee,
  PacelcClass,
  Reach,
  TransactionScope,
} from '../system.ts';

export const KIB = 1_024;
export const MIB: number = 1_024 * KIB;
export const GIB: number = 1_024 * MIB;
export const TIB: number = 1_024 * GIB;
export const PIB: number = 1_024 * TIB;

interface Promises {
  readonly cap: CapClass;
  readonly pacelc: PacelcClass;
  readonly guarantees?: readonly Guarantee[];
  readonly durability?: Durability;
  readonly transactions?: TransactionScope;
  readonly reach?: Reach;
  readonly survives?: number;
}

type DocumentId = Exclude<SourceId, 'unchecked' | 'judgement'>;
type Promised = Exclude<keyof Promises, 'cap' | 'pacelc'>;

/**
 * A configuration whose facts come from one document. What the document says in its own words is named in `read`; what
 * merely follows has medium confidence, as CAP and PACELC always have: hardly a document speaks of them. `elsewhere` names
 * what was read in another document. What is named in none of them is not backed at all, and is marked as recalled.
 */
export function configuration(
  id: string,
  about: string,
  basis: SourceId,
  promises: Promises,
  backing: {
    readonly read?: readonly Promised[];
    readonly follows?: readonly Promised[];
    readonly elsewhere?: Readonly<Partial<Record<Promised, DocumentId>>>;
  } = {},
): Configuration {
  const inferred = <Value>(value: Value): Fact<Value> =>
    basis === 'unchecked' || basis === 'judgement'
      ? recalled(value)
      : known(value, basis, 'medium');
  const fact = <Value>(name: Promised, value: Value | undefined): Known<Value> => {
    if (value === undefined) return undefined;
    const other = backing.elsewhere?.[name];
    if (other !== undefined) return known(value, other);
    if (basis === 'unchecked' || basis === 'judgement') return recalled(value);
    if (backing.read?.includes(name) === true) return known(value, basis);
    return backing.follows?.includes(name) === true
      ? known(value, basis, 'medium')
      : recalled(value);
  };
  return {
    id,
    about,
    cap: inferred(promises.cap),
    pacelc: inferred(promises.pacelc),
    guarantees: fact('guarantees', promises.guarantees),
    durability: fact('durability', promises.durability),
    transactions: fact('transactions', promises.transactions),
    reach: fact('reach', promises.reach),
    survives: fact('survives', promises.survives),
  };
}

/** An open-source licence: as its text says, or, without a document, as people remember it. */
export function openSource(
  text: string,
  document?: DocumentId,
): Known<{ readonly text: string; readonly open: boolean }> {
  const value = { text, open: true };
  return document === undefined ? recalled(value) : known(value, document);
}

/** A licence that is not open source, or a service that nobody else can run. */
export function proprietary(
  text: string,
): Known<{ readonly text: string; readonly open: boolean }> {
  return recalled({ text, open: false });
}

/** Days a month that one more system costs: our estimate, by how it is run. */
export const operationsDays: Readonly<
  Record<'embedded' | 'managed' | 'server' | 'cluster' | 'platform', Fact<number>>
> = {
  embedded: estimated(0.25),
  managed: estimated(1),
  server: estimated(2),
  cluster: estimated(4),
  platform: estimated(8),
};

function estimated(days: number): Fact<number> {
  return { value: days, source: 'judgement', date: '2026-11-30', confidence: 'low' };
}
