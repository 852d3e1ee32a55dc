import type { Checkpoint, Sink, SinkSession } from '../../src/ports/sink.ts';
import type { Store, StoreDefinition } from '../../src/ports/store.ts';
import type { Write } from '../../src/core/write.ts';

/** What somebody wants to know of a store that keeps nothing. */
export interface NullObserver {
  /** A flow may begin once this resolves. */
  readonly begin?: (flow: string) => Promise<void>;
  readonly applied?: (flow: string, writes: readonly Write[], checkpoint: Checkpoint) => void;
}

/** A store that applies nothing and keeps no more than its checkpoints, in memory: what is left is the way there. */
export function nullStore(observer: NullObserver = {}): StoreDefinition {
  return { system: 'null', open: async ({ name }) => openNull(name, observer) };
}

function openNull(name: string, { begin, applied }: NullObserver): Store {
  const kept = new Map<string, Checkpoint>();
  const session = (flow: string): SinkSession => ({
    checkpoint: async () => kept.get(flow),
    apply: async ({ writes, checkpoint }) => {
      kept.set(flow, checkpoint);
      applied?.(flow, writes, checkpoint);
      return { applied: writes.length, older: 0, failed: [] };
    },
    readState: async (names) => names.map(() => null),
    sweep: async () => 0,
    prune: async () => 0,
    reset: async () => void kept.delete(flow),
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  });
  const sink: Sink = {
    supports: {
      effect: 'transactional',
      ordinalFence: true,
      foldState: false,
      switchOver: false,
      rowBytesMax: 2 ** 24,
    },
    open: async ({ flow }) => {
      await begin?.(flow);
      return session(flow);
    },
    generation: async () => undefined,
    switchTo: async () => undefined,
    peek: async (flow) => kept.get(flow),
  };
  const close = async (): Promise<void> => undefined;
  return {
    name,
    system: 'null',
    client: undefined,
    sink,
    vitals: async () => ({ system: 'null', version: '', measures: [] }),
    close,
    [Symbol.asyncDispose]: close,
  };
}
