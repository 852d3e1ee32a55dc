import { test } from 'vitest';
import { effectsConformance } from '../../src/conformance/effects.ts';
import { sqliteEffects, sqliteSubject } from './sqlite-effects.ts';

effectsConformance({ test, supports: sqliteEffects, open: sqliteSubject });
