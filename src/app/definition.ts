import { TallyError } from '../core/errors.ts';
import { isLaneName } from '../core/evidence.ts';
import type { Evidence } from '../core/evidence.ts';
import { checkOptions, suggest } from '../core/options.ts';
import type { FlowDefinition } from '../flow/definition.ts';
import type { Decider } from '../patterns/events/decider.ts';
import type { Cache } from '../patterns/cache/index.ts';
import { checkSagaSetup } from '../patterns/saga/setup.ts';
import type { SagaDefinition, SagaEngineOptions } from '../patterns/saga/index.ts';
import type { LedgerDefinition } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';
import type { Source } from '../ports/source.ts';
import type { Store, StoreContext, StoreDefinition } from '../ports/store.ts';

/** The sagas of an application, and how its workers run them. */
export type SagaSetup = Pick<
  SagaEngineOptions,
  'definitions' | 'schedules' | 'observe' | 'leaseMs' | 'runningMax'
>;

/** The stores of an application, by name. */
export type Stores = Readonly<Record<string, StoreDefinition>>;

/** The open stores of an application, by name. */
export type OpenedStores<Declared extends Stores> = {
  readonly [Name in keyof Declared]: Opened<Declared[Name]>;
};

/** The open caches of an application, by name. */
export type OpenedCaches = Readonly<Record<string, Cache<unknown, unknown>>>;

/**
 * How a cache of an application is opened over its open stores. `heads` is for its `asOf`: what this process knows to be
 * committed.
 */
export type CacheSetup<Declared extends Stores, Kept = Cache<unknown, unknown>> = (
  stores: OpenedStores<Declared>,
  heads: () => Evidence,
) => Promise<Kept>;

/** How the log of one lane is opened, e.g. `segmentLog({ dir })`. */
export interface LogDefinition {
  open(context: StoreContext): Promise<Log>;
}

/** What an application declares: its stores, and the flows between them. */
export interface TallyOptions<Declared extends Stores, Kept extends OpenedCaches = OpenedCaches> {
  /** Names the application in its own records; letters, digits, `_`, `.`, `-`. */
  readonly name: string;
  readonly stores: Declared;
  readonly flows?: Readonly<Record<string, FlowDefinition>>;
  /**
   * The deciders whose events are in a store, by the store's name: `tally events` shows, replays and compares their
   * aggregates. What runs them is `aggregates()` of tallystick/events.
   */
  readonly deciders?: { readonly [Name in keyof Declared]?: readonly Decider[] };
  /**
   * The sagas that its workers run: every version that still has running ones. With options: `{ definitions, … }`.
   */
  readonly sagas?: readonly SagaDefinition[] | SagaSetup;
  /**
   * Its caches, by name: `(stores) => cache({ … })`. They are open as `app.caches`, `tally cache` looks at them, and flows of
   * `invalidation` end in them.
   */
  readonly caches?: { readonly [Name in keyof Kept]: CacheSetup<Declared, Kept[Name]> };
  /** The folder of the embedded ledger and log. Default `.tally/NAME`. */
  readonly dir?: string;
  /** Instead of the embedded one. */
  readonly ledger?: LedgerDefinition;
  /** Instead of the embedded one; called once for each lane. */
  readonly log?: (lane: string) => LogDefinition;
}

/** A declared application: nothing is opened yet. */
export interface TallyApp<
  Declared extends Stores = Stores,
  Kept extends OpenedCaches = OpenedCaches,
> {
  readonly name: string;
  readonly stores: Declared;
  readonly flows: Readonly<Record<string, FlowDefinition>>;
  readonly deciders: Readonly<Record<string, readonly Decider[]>>;
  readonly sagas: SagaSetup;
  /** Each opens over the stores of this declaration. */
  readonly caches: { readonly [Name in keyof Kept]: CacheSetup<Stores, Kept[Name]> };
  readonly dir: string;
  readonly ledger: LedgerDefinition | undefined;
  readonly log: ((lane: string) => LogDefinition) | undefined;
}

/** The open store behind a declared one. */
export type Opened<Definition> = Definition extends StoreDefinition<infer Open> ? Open : Store;

/** What a transaction of a store is called with. */
export type TxOf<Definition> =
  Opened<Definition> extends { readonly source?: Source<infer Tx> | undefined } ? Tx : never;

/** The native client of a store. */
export type ClientOf<Definition> = Opened<Definition> extends Store<infer Client> ? Client : never;

const optionNames = [
  'name',
  'stores',
  'flows',
  'deciders',
  'sagas',
  'caches',
  'dir',
  'ledger',
  'log',
] as const;

/**
 * Declares an application. Checks everything that can be known without opening a store: names, references,
 * two flows that would write the same rows. Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION.
 */
export function tally<const Declared extends Stores, Kept extends OpenedCaches = OpenedCaches>(
  options: TallyOptions<Declared, Kept>,
): TallyApp<Declared, Kept> {
  checkOptions(options, optionNames, 'tally');
  const { name, stores, flows = {}, dir = `.tally/${name}`, ledger, log } = options;
  checkName(name, 'tally.name');
  const storeNames = Object.keys(stores);
  if (storeNames.length === 0)
    throw invalid('tally.stores', 'names no store', 'declare at least one');
  for (const store of storeNames) checkName(store, `tally.stores.${store}`);
  const caches = checkedCaches(options.caches);
  for (const [flow, definition] of Object.entries(flows))
    checkFlow(flow, definition, { stores: storeNames, caches: Object.keys(caches) });
  checkSeparateTargets(flows);
  const deciders = checkedDeciders(options.deciders ?? {}, storeNames);
  const sagas = checkSagaSetup(options.sagas);
  return { name, stores, flows, deciders, sagas, caches, dir, ledger, log };
}

function checkName(name: string, path: string): void {
  if (!isLaneName(name) || name.includes('/') || name.includes(':'))
    throw invalid(
      path,
      `cannot be ${JSON.stringify(name)}`,
      'use letters, digits, "_", "." and "-", at most 64 of them',
    );
}

function checkFlow(
  flow: string,
  definition: FlowDefinition,
  { stores, caches }: { readonly stores: readonly string[]; readonly caches: readonly string[] },
): void {
  checkName(flow, `tally.flows.${flow}`);
  const isToCache = definition.starts === 'emptied';
  for (const end of ['from', 'to'] as const) {
    const name = definition[end];
    const [kind, known] =
      isToCache && end === 'to' ? (['cache', caches] as const) : (['store', stores] as const);
    if (known.includes(name)) continue;
    const near = suggest(name, known);
    throw invalid(
      `tally.flows.${flow}.${end}`,
      `names the ${kind} ${JSON.stringify(name)}, which is not declared`,
      near === undefined
        ? `declare it${known.length === 0 ? '' : `, or use one of ${known.join(', ')}`}`
        : `did you mean ${near}?`,
    );
  }
  if (isToCache && stores.includes(definition.to))
    throw invalid(
      `tally.flows.${flow}.to`,
      `names ${definition.to}, which is a cache and a store`,
      'give the cache another name',
    );
  if (definition.from === definition.to)
    throw invalid(
      `tally.flows.${flow}`,
      'flows from a store into itself',
      'use a view or a trigger inside one store',
    );
}

/** A target row has one source lane, and one flow: two writers would overwrite each other's fences. */
function checkSeparateTargets(flows: Readonly<Record<string, FlowDefinition>>): void {
  const writers = new Map<string, string>();
  for (const [flow, { to, into, starts }] of Object.entries(flows)) {
    // Whatever tells a cache of a change takes nothing away from another one that does.
    if (starts === 'emptied') continue;
    for (const target of into) {
      const other = writers.get(`${to} ${target}`);
      if (other !== undefined)
        throw invalid(
          `tally.flows.${flow}.into`,
          `writes ${target} of ${to}, which flow ${other} writes too`,
          'give each flow targets of its own; what joins several lanes is a fold',
        );
      writers.set(`${to} ${target}`, flow);
    }
  }
}

function checkedCaches<Declared extends Stores, Kept extends OpenedCaches>(
  caches: TallyOptions<Declared, Kept>['caches'],
): TallyApp<Stores, Kept>['caches'] {
  for (const [cache, setup] of Object.entries(caches ?? {})) {
    checkName(cache, `tally.caches.${cache}`);
    if (typeof setup !== 'function')
      throw invalid(
        `tally.caches.${cache}`,
        'is no function',
        'give what opens it: (stores) => cache({ … })',
      );
  }
  // They are called with the stores of their own declaration, and no others.
  return (caches ?? {}) as unknown as TallyApp<Stores, Kept>['caches'];
}

/** A stream is found by its category, so that a category has one decider in the whole application. */
function checkedDeciders(
  deciders: Readonly<Record<string, readonly Decider[] | undefined>>,
  stores: readonly string[],
): Readonly<Record<string, readonly Decider[]>> {
  checkOptions(deciders, stores, 'tally.deciders');
  const categories = new Set<string>();
  for (const [store, list = []] of Object.entries(deciders))
    for (const { category } of list) {
      if (categories.has(category))
        throw invalid(
          `tally.deciders.${store}`,
          `names the category ${category} a second time`,
          'give each decider a category of its own',
        );
      categories.add(category);
    }
  return Object.fromEntries(Object.entries(deciders).map(([store, list = []]) => [store, list]));
}

function invalid(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
