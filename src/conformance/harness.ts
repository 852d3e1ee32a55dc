/**
 * What a suite needs of a test runner; `{ test }` of vitest and of node:test both fit. Suites use
 * node:assert, name no adapter, and sleep only through the clock they are given.
 */
export interface SuiteRunner {
  readonly test: (name: string, run: () => Promise<void>) => unknown;
}
