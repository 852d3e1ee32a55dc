import type pg from 'pg';
import { TallyError } from '../../core/errors.ts';

/** The official driver's module. Types only: the module itself is an optional peer, loaded when a store opens. */
export type PgDriver = typeof pg;

/** Loads the driver, which is an optional peer dependency. Throws DRIVER_MISSING. */
export async function loadDriver(
  load: () => Promise<unknown> = () => import('pg'),
): Promise<PgDriver> {
  try {
    return (await load()) as PgDriver;
  } catch (cause) {
    throw new TallyError('DRIVER_MISSING', {
      what: 'the driver of PostgreSQL cannot be loaded',
      where: 'pg',
      mend: 'run `npm install pg`',
      details: { package: 'pg' },
      cause,
    });
  }
}
