import { TallyError } from '../../../core/errors.ts';
import { corruptAnswer, refusalError, refusalOf } from '../errors.ts';
import type { OpenSearchParts } from '../parts.ts';
import { pathOf } from './names.ts';

/** One generation of a flow's targets. */
export interface HeldGeneration {
  /** By target, which index it was when the flow last opened it: another one holds other rows. */
  readonly targets: Readonly<Record<string, string>>;
  /** As canonical text. */
  readonly checkpoint?: string;
}

/** What the store holds of a flow. */
export interface FlowState {
  readonly workerEpoch: number;
  /** The generation that readers see. */
  readonly current: number;
  /** The generation that readers are being moved to. */
  readonly switching?: number;
  readonly generations: Readonly<Record<string, HeldGeneration>>;
}

interface Held {
  readonly state: FlowState;
  readonly seqNo: number;
  readonly primaryTerm: number;
}

/** Tries of one change; only sessions of one worker get in each other's way. */
const TRIES_MAX = 20;

/**
 * The document of one flow, changed only from what was read: a PUT on condition of its sequence number and primary term.
 * So a worker that was replaced moves no checkpoint: 1. the heir claims  2. the zombie's PUT finds another sequence number
 * 3. it reads the heir's epoch.
 */
export class FlowRecord {
  readonly flow: string;
  readonly #parts: OpenSearchParts;
  /** As it was last read or written here. */
  #held: Held | undefined;

  constructor(parts: OpenSearchParts, flow: string) {
    this.#parts = parts;
    this.flow = flow;
  }

  /** As the server holds it now: a GET by id sees what was answered, refreshed or not. */
  async read(): Promise<FlowState | undefined> {
    const { link, names, where } = this.#parts;
    const path = `/${pathOf(names.flows)}/_doc/${pathOf(this.flow)}`;
    const { body } = await link.request({ method: 'GET', path, query: { realtime: true } });
    const {
      found,
      _seq_no: seqNo,
      _primary_term: primaryTerm,
      _source: source,
    } = body as {
      readonly found?: boolean;
      readonly _seq_no: number;
      readonly _primary_term: number;
      readonly _source: { readonly state: string };
    };
    this.#held = undefined;
    if (found !== true) return undefined;
    let state: FlowState;
    try {
      state = JSON.parse(source.state) as FlowState;
    } catch {
      throw corruptAnswer('the record of a flow cannot be read', `${where}, ${path}`, '');
    }
    this.#held = { state, seqNo, primaryTerm };
    return state;
  }

  /**
   * Makes `change` of what is there, again if somebody else was first. `change` throws what refuses it. Throws
   * CONDITION_FAILED if the index of flows is gone.
   */
  async update(change: (state: FlowState | undefined) => FlowState): Promise<FlowState> {
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const held = this.#held?.state ?? (await this.read());
      const next = change(held);
      if (await this.#write(next)) return next;
      // Somebody else was first, or an answer of ours was lost.
      this.#held = undefined;
    }
    throw new TallyError('STORE_BUSY', {
      what: `the record of flow ${this.flow} is changed by somebody else all the time`,
      where: this.#parts.where,
      mend: 'look for two workers with one lease; the flow tries again',
    });
  }

  /** Forgets what was read, so that the next change begins with what is there. */
  forget(): void {
    this.#held = undefined;
  }

  async #write(state: FlowState): Promise<boolean> {
    const { link, names, where } = this.#parts;
    const held = this.#held;
    const condition =
      held === undefined
        ? { op_type: 'create' }
        : { if_seq_no: held.seqNo, if_primary_term: held.primaryTerm };
    const path = `/${pathOf(names.flows)}/_doc/${pathOf(this.flow)}`;
    // An answer that is lost leaves open which of both is there: the next change reads it first.
    this.#held = undefined;
    const { status, body } = await link.request({
      method: 'PUT',
      path,
      query: { ...condition, require_alias: true },
      body: { flow: this.flow, state: JSON.stringify(state) },
    });
    if (status === 409) return false;
    if (status === 404) throw this.gone();
    if (status >= 300)
      throw refusalError(refusalOf(status, (body as { error?: unknown }).error), where);
    const { _seq_no: seqNo, _primary_term: primaryTerm } = body as {
      readonly _seq_no: number;
      readonly _primary_term: number;
    };
    this.#held = { state, seqNo, primaryTerm };
    return true;
  }

  /** What this flow left is not there any more. */
  gone(what = 'the index of flows was deleted'): TallyError {
    return new TallyError('CONDITION_FAILED', {
      what: `the server does not hold what flow ${this.flow} left there: ${what}`,
      where: this.#parts.where,
      mend: 'nothing: the flow opens the target again and goes on from what is there, or fills it anew',
      details: { flow: this.flow, lostWrites: true },
    });
  }
}

/** Throws FENCED_OUT if a newer worker has claimed the flow. */
export function checkEpoch(
  state: FlowState | undefined,
  about: { readonly flow: string; readonly workerEpoch: number; readonly where: string },
): void {
  const { flow, workerEpoch, where } = about;
  if (state === undefined || state.workerEpoch <= workerEpoch) return;
  throw new TallyError('FENCED_OUT', {
    what: `worker epoch ${state.workerEpoch} has taken over flow ${flow} from ${workerEpoch}`,
    where,
    mend: 'stop this worker; it may go on only under a newer lease',
    details: { flow, holder: state.workerEpoch, workerEpoch },
  });
}
