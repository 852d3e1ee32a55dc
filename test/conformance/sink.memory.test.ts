import { describe, test } from 'vitest';
import { sinkConformance } from '../../src/conformance/sink.ts';
import type { SinkSupports } from '../../src/ports/sink.ts';
import { memorySink, wholeSink } from './memory-subjects.ts';

const reduced: SinkSupports = {
  ...wholeSink,
  effect: 'fenced',
  ordinalFence: false,
  foldState: false,
  switchOver: false,
};

describe('the memory sink', () => {
  sinkConformance({ test, supports: wholeSink, open: () => memorySink(wholeSink) });
});

describe('the memory sink, fenced and with nothing it need not have', () => {
  sinkConformance({ test, supports: reduced, open: () => memorySink(reduced) });
});
