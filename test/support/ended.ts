import { afterEach } from 'vitest';

/** Keeps what a test of the file opens; all of it ends with the test, the newest first. */
export function ended(): <One extends AsyncDisposable>(one: One) => One {
  const open: AsyncDisposable[] = [];
  afterEach(async () => {
    for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
  });
  return (one) => {
    open.push(one);
    return one;
  };
}
