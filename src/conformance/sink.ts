import assert from 'node:assert/strict';
import { sinkCheckpointCases } from './sink-checkpoints.ts';
import { sinkFenceCases } from './sink-fences.ts';
import { sinkGenerationCases } from './sink-generations.ts';
import { SinkBench, type SinkCase, type SinkConformanceOptions } from './sink-harness.ts';
import { sinkValueCases } from './sink-values.ts';

export {
  sinkTargets,
  type ColumnKind,
  type SinkConformanceOptions,
  type SinkSubject,
  type SuiteTable,
} from './sink-harness.ts';

const manifest: SinkCase = {
  id: 'SK-001',
  policy: 'shows the manifest that it was announced with',
  run: async (bench) => {
    assert.deepEqual({ ...bench.sink.supports }, { ...bench.supports });
  },
};

const cases: readonly SinkCase[] = [
  manifest,
  ...sinkValueCases,
  ...sinkFenceCases,
  ...sinkCheckpointCases,
  ...sinkGenerationCases,
];

/**
 * Registers the conformance suite of the sink port with a test runner. Every adapter passes all of
 * it; where its manifest says no, the other half of the pair asserts how it refuses. Each case gets
 * a fresh subject and disposes of it.
 */
export function sinkConformance(options: SinkConformanceOptions): void {
  for (const { id, policy, when, run } of cases) {
    if (when !== undefined && !when(options.supports)) continue;
    options.test(`${id} ${policy}`, async () => {
      const subject = await options.open();
      try {
        await run(new SinkBench(subject, options.supports));
      } finally {
        await subject.dispose();
      }
    });
  }
}
