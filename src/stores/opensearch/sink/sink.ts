import type {
  Checkpoint,
  OpenSinkOptions,
  Sink,
  SinkSession,
  SinkSupports,
  TargetShape,
} from '../../../ports/sink.ts';
import { decodeCheckpoint } from '../../../ports/checkpoint.ts';
import type { OpenSearchParts } from '../parts.ts';
import { sinkSupports } from '../supports.ts';
import { checkEpoch, FlowRecord, type FlowState, type HeldGeneration } from './flow-record.ts';
import { Indices } from './indices.ts';
import { OpenSearchSinkSession } from './session.ts';

const none: HeldGeneration = { targets: {} };

/** The sink of an OpenSearch: one document for each row, its fence the document's external version. */
export class OpenSearchSink implements Sink {
  readonly supports: SinkSupports;
  readonly #parts: OpenSearchParts;
  readonly #indices: Indices;

  constructor(parts: OpenSearchParts) {
    this.supports = { ...sinkSupports, rowBytesMax: parts.rowBytesMax };
    this.#parts = parts;
    this.#indices = new Indices(parts);
  }

  async open(options: OpenSinkOptions): Promise<SinkSession> {
    const { flow, generation, targets, workerEpoch } = options;
    for (const { target } of targets) this.#parts.names.check(target);
    await this.#indices.ensureFlows();
    const record = new FlowRecord(this.#parts, flow);
    const claimed = await this.#claim(record, options);
    if (claimed.switching !== undefined)
      await this.#finishSwitch(record, claimed.switching, workerEpoch);
    const held: Record<string, string> = {};
    for (const { target } of targets)
      held[target] = await this.#indices.take({
        flow,
        target,
        generation,
        workerEpoch,
        isCurrent: (claimed.switching ?? claimed.current) === generation,
      });
    await record.update((state) => {
      checkEpoch(state, { flow, workerEpoch, where: this.#parts.where });
      if (state === undefined) throw record.gone();
      const { targets: before, checkpoint } = state.generations[generation] ?? none;
      // An index that was there is not: what the checkpoint says of it is no longer true.
      const isWhole = Object.entries(held).every(
        ([target, identity]) => (before[target] ?? identity) === identity,
      );
      const now = {
        targets: { ...before, ...held },
        ...(checkpoint === undefined || !isWhole ? {} : { checkpoint }),
      };
      return { ...state, generations: { ...state.generations, [generation]: now } };
    });
    return new OpenSearchSinkSession({
      parts: this.#parts,
      record,
      indices: this.#indices,
      open: options,
      held,
    });
  }

  async generation(flow: string): Promise<number | undefined> {
    const state = await new FlowRecord(this.#parts, flow).read();
    return state === undefined ? undefined : this.#seen(state);
  }

  async peek(flow: string): Promise<Checkpoint | undefined> {
    const state = await new FlowRecord(this.#parts, flow).read();
    if (state === undefined) return undefined;
    const text = state.generations[await this.#seen(state)]?.checkpoint;
    return text === undefined ? undefined : decodeCheckpoint(text, this.#parts.where);
  }

  /**
   * The intent is written first, then the aliases of all targets are moved in one step, then the generation before is
   * removed. Whoever opens the flow after a crash finishes what was begun; whoever looks meanwhile asks the aliases.
   */
  async switchTo(
    flow: string,
    to: number,
    _targets: readonly TargetShape[],
    workerEpoch: number,
  ): Promise<void> {
    const record = new FlowRecord(this.#parts, flow);
    const state = await record.update((held) => {
      checkEpoch(held, { flow, workerEpoch, where: this.#parts.where });
      if (held === undefined) throw record.gone();
      if (held.generations[to] === undefined) throw record.gone(`there is no generation ${to}`);
      return { ...held, switching: to };
    });
    await this.#finishSwitch(record, state.switching ?? to, workerEpoch);
  }

  async #claim(record: FlowRecord, options: OpenSinkOptions): Promise<FlowState> {
    const { flow, generation, workerEpoch } = options;
    return record.update((state) => {
      checkEpoch(state, { flow, workerEpoch, where: this.#parts.where });
      const first: FlowState = { workerEpoch, current: generation, generations: {} };
      const { current, generations, ...held } = state ?? first;
      return {
        ...held,
        current,
        workerEpoch,
        generations: { ...generations, [generation]: generations[generation] ?? { targets: {} } },
      };
    });
  }

  async #finishSwitch(record: FlowRecord, to: number, workerEpoch: number): Promise<void> {
    const { flow } = record;
    const about = { flow, workerEpoch, where: this.#parts.where };
    const state = await record.read();
    checkEpoch(state, about);
    if (state === undefined) throw record.gone();
    await this.#indices.switchReaders(Object.keys(state.generations[to]?.targets ?? {}), to);
    for (const [generation, { targets }] of Object.entries(state.generations)) {
      if (Number(generation) >= to) continue;
      for (const target of Object.keys(targets))
        await this.#indices.remove(target, Number(generation));
    }
    await record.update((held) => {
      checkEpoch(held, about);
      if (held === undefined) throw record.gone();
      const { switching: _done, generations, ...rest } = held;
      const kept = Object.entries(generations).filter(([each]) => Number(each) >= to);
      return { ...rest, current: to, generations: Object.fromEntries(kept) };
    });
  }

  /** The generation that readers see: in the middle of a switch, what the aliases say. */
  async #seen({ current, switching, generations }: FlowState): Promise<number> {
    const held = generations[switching ?? current];
    const [target] = Object.keys(held?.targets ?? {});
    if (switching === undefined || target === undefined) return current;
    return (await this.#indices.readersOf(target)) ?? current;
  }
}
