import {
  errorText,
  isTallyError,
  TallyError,
  unreachable,
  type ErrorCode,
} from '../../core/errors.ts';
import type { Evidence } from '../../core/evidence.ts';
import { checkDuration, checkOneOf, checkOptions, fieldPath, suggest } from '../../core/options.ts';
import type { Key } from '../../core/row.ts';
import { checkSchema, isStandardSchema, type StandardSchema } from '../../core/standard-schema.ts';
import type { Freshness } from '../../flow/barrier.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Store } from '../../ports/store.ts';
import { systemClock } from '../../runtime/clock.ts';

/** What a read model is good at. A query says what it needs; the router finds who offers it. */
export const capabilities = [
  'key',
  'range',
  'relational',
  'search',
  'analytics',
  'graph',
  'time-series',
  'objects',
  // The events themselves, folded: slow, and never behind.
  'events',
] as const;

export type Capability = (typeof capabilities)[number];

/** The open stores of an application, by name. */
export type OpenStores = Readonly<Record<string, Store>>;

/** The systems that an application's stores are of. */
export type SystemIn<Open extends OpenStores> = Open[keyof Open]['system'];

/** The stores of one system. */
export type StoreIn<Open extends OpenStores, System> = Extract<
  Open[keyof Open],
  { readonly system: System }
>;

/** How fresh the models that answer must be; as in `app.read`. */
export interface QueryFreshness {
  readonly after?: Evidence;
  readonly maxStale?: number | string;
  /** For all models that are tried together. Default `'1s'`. */
  readonly within?: number | string;
  readonly keys?: readonly { readonly table: string; readonly key: Key }[];
  /**
   * If none is fresh in time: `fail` (default) with QUERY_UNANSWERED, or `stale`: take the first that can be reached, as it
   * is. `freshness` of the answer says what it was.
   */
  readonly otherwise?: 'fail' | 'stale';
  readonly signal?: AbortSignal;
}

/** What is needed of an open application. */
export interface ReadableApp<Open extends OpenStores> {
  readonly stores: Open;
  read<Result>(
    store: keyof Open & string,
    options: Omit<QueryFreshness, 'otherwise'> & { readonly otherwise?: 'stale' | 'fail' },
    work: () => Result | Promise<Result>,
  ): Promise<{ readonly value: Result; readonly freshness: Freshness }>;
}

/** A read model: where it is, what it is about, and what it is good at. */
export interface ReadModel<StoreName extends string = string> {
  readonly store: StoreName;
  /** What it holds, in a word that queries use too: `accounts`. */
  readonly about: string;
  readonly offers: readonly Capability[];
  /** Its table, index or prefix in the store, for the native queries. Default: its own name. */
  readonly target?: string;
}

/** The model that a native query is asked on. */
export interface ModelPlace<Opened = Store> {
  readonly model: string;
  /** Its table, index or prefix. */
  readonly target: string;
  /** Its store, with what it offers beside its client: `store.query`, say. */
  readonly store: Opened;
}

/** One way to answer: what it needs, and the native query for each system that may have it. */
export interface Way<Open extends OpenStores, Input, Result> {
  readonly needs: Capability;
  readonly by: {
    readonly [System in SystemIn<Open>]?: (
      client: StoreIn<Open, System>['client'],
      input: Input,
      place: ModelPlace<StoreIn<Open, System>>,
    ) => Result | Promise<Result>;
  };
}

/** Why a model did not answer. */
export interface Tried {
  readonly model: string;
  readonly store: string;
  readonly why: 'not-fresh' | 'failed';
  readonly freshness?: Freshness;
  readonly code?: ErrorCode;
  readonly message: string;
}

/** The answer of a query, by whom, and how fresh. */
export interface QueryAnswer<Result> {
  readonly value: Result;
  readonly model: string;
  readonly freshness: Freshness;
  /** Those that were asked before it, and why they did not answer. */
  readonly tried: readonly Tried[];
}

/** Answers a query. Throws QUERY_UNANSWERED, COMMAND_INVALID for input that does not fit, ABORTED. */
export type Query<Input, Result> = (
  input: Input,
  freshness?: QueryFreshness,
) => Promise<QueryAnswer<Result>>;

/** The read models of an application. */
export interface ReadModels<Open extends OpenStores> {
  /**
   * Declares a query about something: the ways to answer it, best first. It goes to the first way, and in it to the first
   * model that is about the same, offers what the way needs, and is in a store of a system that the way has a native query
   * for; then to the next. Throws CAPABILITY_MISSING if no declared model can ever answer, CONFIG_INVALID.
   */
  query<Input, Result>(options: {
    readonly about: string;
    readonly input?: StandardSchema<Input>;
    /** Unless a call says otherwise. */
    readonly fresh?: Omit<QueryFreshness, 'after' | 'signal'>;
    readonly ways: readonly Way<Open, Input, Result>[];
  }): Query<Input, Result>;
}

const modelNames = ['store', 'about', 'offers', 'target'] as const;
const queryNames = ['about', 'input', 'fresh', 'ways'] as const;
const freshNames = ['after', 'maxStale', 'within', 'keys', 'otherwise', 'signal'] as const;

/**
 * Declares which stores of an open application hold which read models. A model that moves to another store (accounts found
 * by Elasticsearch instead of SQLite) is one line here, and one native query where its system is a new one. Throws
 * CONFIG_INVALID.
 *
 * @example
 * const models = readModels(app, {
 *   names: { store: 'search', about: 'accounts', offers: ['search'] },
 *   balances: { store: 'views', about: 'accounts', offers: ['key', 'relational'] },
 * });
 * const accountsNamed = models.query<string, readonly string[]>({
 *   about: 'accounts',
 *   ways: [
 *     { needs: 'search', by: { sqlite: (db, name) => matches(db, name) } },
 *     { needs: 'relational', by: { sqlite: (db, name) => like(db, name) } },
 *   ],
 * });
 */
export function readModels<Open extends OpenStores>(
  app: ReadableApp<Open>,
  models: Readonly<Record<string, ReadModel<keyof Open & string>>>,
  { clock = systemClock }: { readonly clock?: Clock } = {},
): ReadModels<Open> {
  const stores = Object.keys(app.stores);
  for (const [name, model] of Object.entries(models)) {
    const path = fieldPath('readModels', name);
    checkOptions(model, modelNames, path);
    checkOneOf(model.store, fieldPath(path, 'store'), stores);
    for (const offered of model.offers)
      checkOneOf(offered, fieldPath(path, 'offers'), capabilities);
  }
  return {
    query: (options) => {
      checkOptions(options, queryNames, 'query');
      if (options.input !== undefined && !isStandardSchema(options.input))
        throw invalid('query.input', 'is not a schema', 'give one that speaks Standard Schema 1');
      const { fresh = {} } = options;
      checkOptions(fresh, freshNames, 'query.fresh');
      checkAbout(options.about, models);
      const candidates = options.ways.flatMap((way) =>
        candidatesOf(way, options.about, models, app),
      );
      if (candidates.length === 0) throw nobody(options, models, app);
      return async (given, asked = {}) => {
        checkOptions(asked, freshNames, 'query');
        const input = await inputOf(options.input, given, options.about);
        return route({ app, clock }, candidates, input, { ...fresh, ...asked });
      };
    },
  };
}

/** One model with the native query that asks it. */
interface Candidate<Input, Result> {
  readonly model: string;
  readonly store: string;
  readonly target: string;
  readonly ask: (client: never, input: Input, place: ModelPlace<never>) => Result | Promise<Result>;
}

function candidatesOf<Open extends OpenStores, Input, Result>(
  way: Way<Open, Input, Result>,
  about: string,
  models: Readonly<Record<string, ReadModel>>,
  app: { readonly stores: OpenStores },
): readonly Candidate<Input, Result>[] {
  const by = way.by as Readonly<Record<string, Candidate<Input, Result>['ask'] | undefined>>;
  return Object.entries(models).flatMap(([model, { store, target = model, offers, ...of }]) => {
    if (of.about !== about || !offers.includes(way.needs)) return [];
    const ask = by[app.stores[store]?.system ?? ''];
    return ask === undefined ? [] : [{ model, store, target, ask }];
  });
}

const WITHIN_DEFAULT = '1s';

async function route<Open extends OpenStores, Input, Result>(
  { app, clock }: { readonly app: ReadableApp<Open>; readonly clock: Clock },
  candidates: readonly Candidate<Input, Result>[],
  input: Input,
  { otherwise = 'fail', ...fresh }: QueryFreshness,
): Promise<QueryAnswer<Result>> {
  const tried: Tried[] = [];
  const read = async (
    { model, store, target, ask }: Candidate<Input, Result>,
    options: Omit<QueryFreshness, 'otherwise'> & { readonly otherwise: 'stale' | 'fail' },
  ): Promise<QueryAnswer<Result> | undefined> => {
    try {
      const open = app.stores[store];
      const place = { model, target, store: open as never };
      const { value, freshness } = await app.read(store, options, () =>
        ask(open?.client as never, input, place),
      );
      return { value, model, freshness, tried: [...tried] };
    } catch (error) {
      if (isTallyError(error, 'ABORTED') || fresh.signal?.aborted === true) throw error;
      tried.push(whyNot(model, store, error));
      return undefined;
    }
  };
  // The time is for all of them: what the first one has waited is not waited again for the next.
  const untilMs =
    clock.monotonicMs() + checkDuration(fresh.within ?? WITHIN_DEFAULT, 'query.within');
  for (const candidate of candidates) {
    const within = Math.max(0, untilMs - clock.monotonicMs());
    const answer = await read(candidate, { ...fresh, within, otherwise: 'fail' });
    if (answer !== undefined) return answer;
  }
  if (otherwise === 'stale')
    for (const candidate of candidates) {
      if (!tried.some(({ model, why }) => model === candidate.model && why === 'not-fresh'))
        continue;
      const answer = await read(candidate, { ...fresh, within: 0, otherwise: 'stale' });
      if (answer !== undefined) return answer;
    }
  throw unanswered(tried);
}

function whyNot(model: string, store: string, error: unknown): Tried {
  const message = errorText(error, 300);
  if (!isTallyError(error)) return { model, store, why: 'failed', message };
  const freshness = error.details['freshness'] as Freshness | undefined;
  if (freshness === undefined) return { model, store, why: 'failed', code: error.code, message };
  return { model, store, why: 'not-fresh', freshness, code: error.code, message };
}

async function inputOf<Input>(
  schema: StandardSchema<Input> | undefined,
  given: Input,
  about: string,
): Promise<Input> {
  if (schema === undefined) return given;
  return checkSchema(schema, given, () => ({
    code: 'INPUT_INVALID',
    what: `the query about ${about}`,
    mend: 'ask what its schema allows',
  }));
}

function checkAbout(about: string, models: Readonly<Record<string, ReadModel>>): void {
  const known = [...new Set(Object.values(models).map((model) => model.about))];
  if (known.includes(about)) return;
  const near = suggest(about, known);
  throw invalid(
    'query.about',
    `is ${JSON.stringify(about)}, and no model is about that`,
    near === undefined ? `use one of ${known.join(', ')}` : `did you mean ${near}?`,
  );
}

function nobody<Open extends OpenStores, Input, Result>(
  { about, ways }: { readonly about: string; readonly ways: readonly Way<Open, Input, Result>[] },
  models: Readonly<Record<string, ReadModel>>,
  app: { readonly stores: OpenStores },
): TallyError {
  const wanted = ways.map(
    ({ needs, by }) => `${needs} by ${Object.keys(by).join(' or ') || 'nothing'}`,
  );
  const have = Object.entries(models)
    .filter(([, model]) => model.about === about)
    .map(
      ([name, { offers, store }]) =>
        `${name} (${offers.join(', ')}, in ${app.stores[store]?.system ?? 'nothing'})`,
    );
  return new TallyError('CAPABILITY_MISSING', {
    what: `no read model can ever answer a query about ${about}: it needs ${wanted.join(', or ')}`,
    where: `models about it: ${have.join(', ')}`,
    mend: 'declare a model that offers it, or write the native query for a system that one is in',
    details: { about, needs: ways.map(({ needs }) => needs) },
  });
}

function unanswered(tried: readonly Tried[]): TallyError {
  const reasons = tried.map(({ model, store, why, message }) => {
    switch (why) {
      case 'not-fresh':
        return `${model} in ${store} is not fresh enough: ${message}`;
      case 'failed':
        return `${model} in ${store} failed: ${message}`;
      default:
        return unreachable(why);
    }
  });
  return new TallyError('QUERY_UNANSWERED', {
    what: `no read model can answer now: ${reasons.join('; ')}`,
    mend: "allow more time, ask for something older with otherwise: 'stale', or declare another model",
    details: { tried },
  });
}

function invalid(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
