import { test } from 'vitest';
import { keyValueConformance } from '../../src/conformance/key-value.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { rowBytesMax, targetFile } from './sqlite-targets.ts';

keyValueConformance({
  test,
  supports: {
    ttlResolutionMs: 1,
    compareAndSet: true,
    keyBytesMax: 4_096,
    valueBytesMax: rowBytesMax,
  },
  open: async () => {
    let nowMs = 1_700_000_000_000;
    const clock: Clock = { ...systemClock, nowMs: () => nowMs };
    const opened = await targetFile({}, clock);
    return {
      get keyValue() {
        return opened.ports.keyValue;
      },
      async advance(delayMs) {
        nowMs += delayMs;
      },
      async reopen() {
        opened.reopen();
      },
      dispose: () => opened.dispose(),
    };
  },
});
