import type { SinkSupports } from '../../ports/sink.ts';

/** What a Redis sink can do, unless told otherwise in the options of its store. */
export const sinkSupports: SinkSupports = {
  // One script is one atomic step, checkpoint included. A batch of more than 2 000 writes or 4 MiB takes several,
  // the checkpoint in the last; so what is promised is the weaker of the two.
  effect: 'fenced',
  ordinalFence: true,
  // State and checkpoint change in one script. Not with several buckets: they may lose different writes.
  foldState: true,
  // Readers find a row by its key; a second generation would have to live under other keys.
  switchOver: false,
  // 8 MiB: while it takes a row in, Redis serves nobody else.
  rowBytesMax: 8_388_608,
  // The number 1 and the text '1' are both at `target:1`.
  typedKeys: false,
};

/** What the sink of a store with these options can do. */
export function sinkSupportsOf(options: {
  readonly buckets: number;
  readonly rowBytesMax: number;
}): SinkSupports {
  return {
    ...sinkSupports,
    foldState: options.buckets === 1,
    rowBytesMax: options.rowBytesMax,
  };
}
