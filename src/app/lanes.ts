import { join } from 'node:path';
import { isTallyError, TallyError } from '../core/errors.ts';
import type { Evidence } from '../core/evidence.ts';
import type { FlowDefinition } from '../flow/definition.ts';
import { claimEpoch, presentEpoch, type Epoch } from '../flow/epochs.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';
import type { Sink } from '../ports/sink.ts';
import type { Source } from '../ports/source.ts';
import type { Store, StoreContext } from '../ports/store.ts';
import type { TallyApp } from './definition.ts';

/** A store that owns facts, and the log its changes go to. */
export interface Lane {
  readonly name: string;
  readonly source: Source<unknown>;
  readonly log: Log;
  /** Every table that some flow reads. */
  readonly tables: readonly string[];
  /** The present history. Its epoch is 0 while it is not accepted: that compares with nothing. */
  epoch: Epoch;
}

/** What a flow may end in: a store, or a cache over one. */
export type FlowEnd = Pick<Store, 'system' | 'sink'>;

/** By the name that a flow gives as `to`. */
export type FlowEnds = Readonly<Record<string, FlowEnd>>;

/** The embedded ledger, unless the application names another. */
export async function openLedger(app: TallyApp, context: StoreContext): Promise<Ledger> {
  if (app.ledger !== undefined) return app.ledger.open(context);
  // oxlint-disable-next-line no-restricted-imports -- the default: nothing to install, nothing to declare
  const { sqliteLedger } = await import('../stores/sqlite/ledger/index.ts');
  return sqliteLedger({ file: join(app.dir, 'ledger.db') }).open(context);
}

/**
 * A target that is down for days must not fill the disk: at this size capture waits and the source keeps its
 * changes. Hours of a busy application, and little beside its data; another bound is another `log` option.
 */
const LOG_BYTES_MAX = 4 * 1024 * 1024 * 1024;

async function openLog(app: TallyApp, lane: string, context: StoreContext): Promise<Log> {
  if (app.log !== undefined) return app.log(lane).open(context);
  // oxlint-disable-next-line no-restricted-imports -- the default, as above
  const { segmentLog } = await import('../stores/files/log/index.ts');
  const dir = join(app.dir, 'log', lane);
  return segmentLog({ dir, bytesMax: LOG_BYTES_MAX }).open(context);
}

/**
 * Opens the lanes of an application: prepares the tables that flows read, so that no write escapes from
 * now on, and allots the first epoch. Throws TABLE_UNKNOWN, CAPABILITY_MISSING.
 */
export async function openLanes(
  app: TallyApp,
  stores: Readonly<Record<string, Store>>,
  ends: FlowEnds,
  ledger: Ledger,
  context: StoreContext,
): Promise<Map<string, Lane>> {
  const lanes = new Map<string, Lane>();
  await using opened = new AsyncDisposableStack();
  for (const [flow, { from }] of Object.entries(app.flows)) {
    if (lanes.has(from)) continue;
    const source = stores[from]?.source;
    if (source === undefined)
      throw missing(
        flow,
        from,
        stores[from],
        'offers no capture',
        'take the facts from a store that does',
      );
    const tables = [
      ...new Set(
        Object.values(app.flows).flatMap((other) => (other.from === from ? other.tables : [])),
      ),
    ];
    await prepareCaptured(app, from, tables, stores);
    await source.prepare(tables);
    const epoch = await laneEpoch(ledger, from, source, () => epochsAtTargets(app, from, ends));
    const log = opened.use(await openLog(app, from, context));
    lanes.set(from, { name: from, source, tables, epoch, log });
  }
  for (const [name, { replica }] of Object.entries(stores))
    if (replica !== undefined) checkReplica(name, replica.of, stores, lanes);
  opened.move();
  return lanes;
}

/** What is committed in a store that no flow reads leaves no evidence: a replica would call anything fresh. */
function checkReplica(
  name: string,
  of: string,
  stores: Readonly<Record<string, Store>>,
  lanes: ReadonlyMap<string, Lane>,
): void {
  if (stores[of] === undefined)
    throw new TallyError('CONFIG_INVALID', {
      what: `it is a replica of ${JSON.stringify(of)}, and there is no store of that name`,
      where: `store ${name}`,
      mend: `name one of ${Object.keys(stores).join(', ')}`,
    });
  if (!lanes.has(of))
    throw new TallyError('CAPABILITY_MISSING', {
      what: `it is a replica of ${of}, which no flow reads from: writes there leave no evidence`,
      where: `store ${name}`,
      mend: `declare a flow from ${of}, or use the replica's own client without tally`,
    });
}

/** Makes the tables of a lane that are targets of other flows: those flows have not run yet. */
async function prepareCaptured(
  app: TallyApp,
  lane: string,
  tables: readonly string[],
  stores: Readonly<Record<string, Store>>,
): Promise<void> {
  const targets = Object.values(app.flows)
    .filter(({ to }) => to === lane)
    .flatMap(({ into }) => into.filter((target) => tables.includes(target)));
  if (targets.length > 0)
    await stores[lane]?.sink?.prepare?.(targets.map((target) => ({ target })));
}

/**
 * The present epoch of a lane. A ledger that knows none, beside targets that do, is not the one that they were
 * filled under: then this is a new epoch. Otherwise: 1. the ledger and the log are lost  2. what was acknowledged
 * but not applied was only in that log  3. capture goes on after it in the same epoch: nobody notices; or in an
 * epoch that was given out before, and the targets refuse everything as older.
 */
async function laneEpoch(
  ledger: Ledger,
  lane: string,
  source: Source<unknown>,
  atTargets: () => Promise<number>,
): Promise<Epoch> {
  const history = await source.history();
  const present = await presentEpoch(ledger, lane);
  if (present === undefined) {
    const first = (await atTargets()) + 1;
    return claimEpoch(ledger, lane, history, { first }).catch((error: unknown) => {
      // Another process opened the application at the same moment: its epoch is the one.
      if (!isTallyError(error, 'LEDGER_CONFLICT')) throw error;
      return claimEpoch(ledger, lane, history);
    });
  }
  return present.history === history ? present : { ...present, epoch: 0, history };
}

/** The newest epoch of a lane that its targets have seen; 0 if none has. */
async function epochsAtTargets(app: TallyApp, lane: string, ends: FlowEnds): Promise<number> {
  const flows = Object.entries(app.flows).filter(([, { from }]) => from === lane);
  const checkpoints = await Promise.all(
    flows.map(([name, definition]) => sinkOf(name, definition, ends).peek(name)),
  );
  return checkpoints.reduce(
    (newest, held) => Math.max(newest, held?.last?.epoch ?? 0, held?.backfill?.epoch ?? 0),
    0,
  );
}

/** The sink of a flow, checked against what the flow needs of it. Throws CAPABILITY_MISSING. */
export function sinkOf(flow: string, definition: FlowDefinition, ends: FlowEnds): Sink {
  const store = ends[definition.to];
  const sink = store?.sink;
  if (sink === undefined)
    throw missing(
      flow,
      definition.to,
      store,
      'takes no writes from flows',
      'flow into a store that does',
    );
  if (definition.projection.kind === 'fold' && !sink.supports.foldState)
    throw missing(
      flow,
      definition.to,
      store,
      'keeps no fold state',
      'fold into a transactional store, and flow its rows on from there',
    );
  if (!sink.supports.ordinalFence)
    throw missing(
      flow,
      definition.to,
      store,
      'cannot tell two changes of one transaction apart (ordinalFence)',
      'flow into a store that compares the ordinal too',
    );
  return sink;
}

function missing(
  flow: string,
  name: string,
  store: FlowEnd | undefined,
  what: string,
  mend: string,
): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `store ${name} (${store?.system ?? 'unknown'}) ${what}`,
    where: `flow ${flow}`,
    mend,
  });
}

/** Takes note of an epoch that another process has taken up: evidence is of the present one. */
export async function refreshEpoch(lane: Lane, ledger: Ledger): Promise<void> {
  const present = await presentEpoch(ledger, lane.name);
  if (present !== undefined && present.history === (await lane.source.history()))
    lane.epoch = present;
}

/** The newest commit of a lane, as evidence. */
export async function laneHead(lane: Lane): Promise<Evidence> {
  const { source } = lane;
  const { offset, history } = (await source.headInHistory?.()) ?? {
    offset: await source.head(),
    history: undefined,
  };
  return laneEvidence(lane, offset, history);
}

/**
 * What a write at `offset` of a lane left behind; `history` is the one that it was committed in, where the
 * source says so: one that is not the accepted history compares with nothing.
 */
export function laneEvidence({ name, epoch }: Lane, offset: number, history?: string): Evidence {
  const accepted = history === undefined || history === epoch.history;
  return new Map([[name, [{ epoch: accepted ? epoch.epoch : 0, offset }]]]);
}
