import { describe, test } from 'vitest';
import { scanConformance } from '../../src/conformance/scan.ts';
import { memoryScan } from './memory-subjects.ts';

describe('the memory scan', () => {
  scanConformance({ test, open: memoryScan });
});
