import type { Scan } from '../ports/scan.ts';
import type { Liar } from './liars-shape.ts';

/** Scans that each break one promise of the port. */
export const scanLiars: Readonly<Record<string, Liar<Scan>>> = {
  losesTheEndOfAPage: {
    lie: 'leaves out the last row of every full page',
    caughtBy: 'SC-002',
    wrap: (scan) => ({
      count: (target) => scan.count(target),
      async *scan(target, options) {
        for await (const page of scan.scan(target, options))
          yield page.length === options.rowsMax ? page.slice(0, -1) : page;
      },
    }),
  },
  repeatsTheFirstRow: {
    lie: 'starts at the key that it should start after',
    caughtBy: 'SC-004',
    wrap: (scan) => ({
      count: (target) => scan.count(target),
      async *scan(target, options) {
        if (options.after === undefined) {
          yield* scan.scan(target, options);
          return;
        }
        const { after: _, ...rest } = options;
        yield* scan.scan(target, rest);
      },
    }),
  },
};
