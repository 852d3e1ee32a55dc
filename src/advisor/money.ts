import type { Confidence } from './fact.ts';
import type { Price, SystemProfile } from './system.ts';
import type { Workload } from './workload.ts';

const SECONDS_PER_MONTH = 30 * 24 * 3_600;
const GIB: number = 1_024 ** 3;
const TIB: number = 1_024 ** 4;

/** What a month costs by list prices, as far as they are known. */
export interface Cost {
  readonly dollarsPerMonth: number;
  /** What was added up, each with where the price is from. */
  readonly parts: readonly {
    readonly says: string;
    readonly dollars: number;
    readonly source: string;
    readonly date: string;
    readonly confidence: Confidence;
  }[];
}

/**
 * The list price of a month. Undefined if no price is known, or the workload does not say how much there is: machines,
 * people and traffic between regions are not in it, and it is never an offer.
 */
export function costOf(system: SystemProfile, workload: Workload): Cost | undefined {
  const parts = system.prices.flatMap(({ value, source, date, confidence }) => {
    const amount = amountOf(value, workload);
    if (amount === undefined) return [];
    const dollars = amount.count * value.dollars;
    return [
      {
        says: `${round(amount.count)} ${amount.unit} at $${value.dollars}`,
        dollars: round(dollars),
        source,
        date,
        confidence,
      },
    ];
  });
  if (parts.length === 0) return undefined;
  return { dollarsPerMonth: round(parts.reduce((sum, { dollars }) => sum + dollars, 0)), parts };
}

function amountOf(
  { per }: Price,
  { bytes, readsPerSecond, writesPerSecond }: Workload,
): { readonly count: number; readonly unit: string } | undefined {
  const perMonth = (rate: number | undefined): number | undefined =>
    rate === undefined ? undefined : (rate * SECONDS_PER_MONTH) / 1e6;
  const amount = (
    count: number | undefined,
    unit: string,
  ): { readonly count: number; readonly unit: string } | undefined =>
    count === undefined ? undefined : { count, unit };
  switch (per) {
    case 'gib-month':
      return amount(bytes === undefined ? undefined : bytes / GIB, 'GiB a month');
    case 'million-reads':
      return amount(perMonth(readsPerSecond), 'million reads');
    case 'million-writes':
      return amount(perMonth(writesPerSecond), 'million writes');
    case 'million-requests':
      return amount(
        perMonth(
          readsPerSecond === undefined && writesPerSecond === undefined
            ? undefined
            : (readsPerSecond ?? 0) + (writesPerSecond ?? 0),
        ),
        'million requests',
      );
    case 'tib-scanned':
      // Each scan reads everything, unless somebody says otherwise: that is the price of a careless query.
      return amount(
        bytes === undefined ? undefined : bytes / TIB,
        'TiB for one scan of everything',
      );
    default:
      return undefined;
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
