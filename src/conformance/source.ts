import assert from 'node:assert/strict';
import { sourceCursorCases } from './source-cursors.ts';
import {
  SourceBench,
  sourceTables,
  type SourceCase,
  type SourceConformanceOptions,
} from './source-harness.ts';
import { sourceSnapshotCases } from './source-snapshots.ts';
import { sourceStreamCases } from './source-streams.ts';

export {
  sourceTables,
  type SourceConformanceOptions,
  type SourceStep,
  type SourceSubject,
} from './source-harness.ts';

const manifest: SourceCase = {
  id: 'SO-001',
  policy: 'shows the manifest that it was announced with',
  run: async (bench) => {
    await Promise.resolve();
    assert.deepEqual({ ...bench.source.supports }, { ...bench.supports });
  },
};

const cases: readonly SourceCase[] = [
  manifest,
  ...sourceStreamCases,
  ...sourceCursorCases,
  ...sourceSnapshotCases,
];

/**
 * Registers the conformance suite of the source port with a test runner. Each case gets a fresh
 * subject with all tables of {@link sourceTables} prepared, and disposes of it.
 */
export function sourceConformance(options: SourceConformanceOptions): void {
  for (const { id, policy, when, run } of cases) {
    if (when !== undefined && !when(options)) continue;
    options.test(`${id} ${policy}`, async () => {
      const subject = await options.open();
      try {
        await subject.source.prepare(sourceTables.map(({ name }) => name));
        await run(new SourceBench(subject, options));
      } finally {
        await subject.dispose();
      }
    });
  }
}
