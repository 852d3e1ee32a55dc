import type { FlowDefinition } from '../flow/definition.ts';
import { listParked, namesOf } from '../flow/parked.ts';
import { planOf } from '../flow/plan.ts';
import type { ProgressBoard } from '../flow/progress.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import { refreshEpoch, sinkOf, type FlowEnds, type Lane } from './lanes.ts';

/** How often the targets are asked while somebody waits. */
const POLL_MS = 10;

export interface RemoteProgressOptions {
  readonly flows: Readonly<Record<string, FlowDefinition>>;
  readonly ends: FlowEnds;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly board: ProgressBoard;
  readonly lanes: ReadonlyMap<string, Lane>;
  /** Whether another process runs the flow, as far as this one knows. */
  readonly isElsewhere: (flow: string) => boolean;
}

/**
 * The progress of flows that run in another process, read from their targets' checkpoints: once when a
 * read begins, and every few milliseconds while one waits.
 */
export class RemoteProgress {
  readonly #options: RemoteProgressOptions;

  constructor(options: RemoteProgressOptions) {
    this.#options = options;
  }

  async refresh(flows: readonly string[]): Promise<void> {
    const { ends, ledger, board, lanes, isElsewhere } = this.#options;
    for (const name of flows) {
      const definition = this.#options.flows[name];
      if (definition === undefined || !isElsewhere(name)) continue;
      const lane = lanes.get(definition.from);
      if (lane !== undefined) await refreshEpoch(lane, ledger);
      const sink = sinkOf(name, definition, ends);
      const checkpoint = await sink.peek(name);
      // Without a checkpoint there is nothing to believe; what was believed before has been emptied since.
      if (checkpoint === undefined && board.get(name) === undefined) continue;
      const parked = await listParked(ledger, name, (await sink.generation(name)) ?? 1);
      // Taken over meanwhile: what is published here now is newer.
      if (!isElsewhere(name)) continue;
      const parkedUnits = [...new Set(parked.flatMap(namesOf))];
      // The worker may still run the plan of before, which says nothing of a table that this one has more.
      const samePlan = checkpoint?.backfill?.plan === planOf(definition.from, definition);
      board.publish(name, {
        lane: definition.from,
        through: samePlan ? checkpoint?.through : undefined,
        throughAtMs: undefined,
        parkedUnits,
      });
    }
  }

  /** Refreshes until disposed. A target that cannot be asked leaves the board as it is: the wait then times out. */
  poll(flows: readonly string[]): Disposable {
    const { clock, isElsewhere } = this.#options;
    if (!flows.some(isElsewhere)) return { [Symbol.dispose]: () => undefined };
    let cancel = (): void => undefined;
    let ended = false;
    const again = (): void => {
      if (ended) return;
      cancel = clock.after(POLL_MS, () => {
        void this.refresh(flows)
          .catch(() => undefined)
          .then(again);
      });
    };
    again();
    return {
      [Symbol.dispose]() {
        ended = true;
        cancel();
      },
    };
  }
}
