import type * as official from '@duckdb/node-api';
import { expect, expectTypeOf, test } from 'vitest';
import {
  loadDriver,
  type DuckdbConnection,
  type DuckdbDriver,
  type DuckdbInstance,
} from './driver.ts';

test('describes the official driver as it is', async () => {
  expectTypeOf<typeof official>().toExtend<DuckdbDriver>();
  expectTypeOf<official.DuckDBConnection>().toExtend<DuckdbConnection>();
  expectTypeOf<official.DuckDBInstance>().toExtend<DuckdbInstance>();
  expect(await loadDriver()).toHaveProperty('DuckDBInstance.fromCache');
});

test('names the command that installs a missing driver', async () => {
  const missing = loadDriver(() => Promise.reject(new Error('Cannot find package')));
  await expect(missing).rejects.toMatchObject({
    code: 'DRIVER_MISSING',
    message: expect.stringContaining('npm install @duckdb/node-api'),
  });
});
