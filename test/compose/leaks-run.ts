import { callsWithoutEnd } from './leaks.ts';

// npm run compose:leaks [-- CALLS]: the long run of leaks.test.ts, with the heap collected.
const left = await callsWithoutEnd(Number(process.argv[2] ?? 1_000_000));
console.log(JSON.stringify(left, undefined, 2));
const { calls: _calls, grownMiB, ...zero } = left;
process.exitCode = Object.values(zero).every((count) => count === 0) && grownMiB < 20 ? 0 : 1;
