import { objectBasicCases } from './objects-basics.ts';
import { objectConditionCases } from './objects-conditions.ts';
import { objectListCases } from './objects-listing.ts';
import {
  ObjectsBench,
  type ObjectsCase,
  type ObjectsConformanceOptions,
} from './objects-harness.ts';

export type { ObjectsConformanceOptions, ObjectsSubject } from './objects-harness.ts';

const cases: readonly ObjectsCase[] = [
  ...objectBasicCases,
  ...objectListCases,
  ...objectConditionCases,
];

/**
 * Registers the conformance suite of the objects port with a test runner. Every adapter passes all
 * of it; where its manifest says no, the other half of the pair asserts how it refuses. Each case
 * gets a fresh subject and disposes of it.
 */
export function objectsConformance(options: ObjectsConformanceOptions): void {
  for (const { id, policy, when, run } of cases) {
    if (when !== undefined && !when(options.supports)) continue;
    options.test(`${id} ${policy}`, async () => {
      const subject = await options.open();
      try {
        await run(new ObjectsBench(subject, options.supports));
      } finally {
        await subject.dispose();
      }
    });
  }
}
