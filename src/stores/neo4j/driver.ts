import { TallyError } from '../../core/errors.ts';
import type { Config, Driver } from 'neo4j-driver';

// The only place that imports the driver; nothing of it is loaded before a store is opened.

/** The driver's own object. */
export type NeoDriver = Driver;

interface NeoModule {
  readonly driver: (url: string, auth: unknown, config: Config) => Driver;
  readonly auth: { basic(user: string, password: string): unknown };
}

/** Loads the driver, which is an optional peer dependency. Throws DRIVER_MISSING. */
export async function loadDriver(
  load: () => Promise<unknown> = () => import('neo4j-driver'),
): Promise<NeoModule> {
  try {
    const loaded = (await load()) as { readonly default: NeoModule };
    return loaded.default;
  } catch (cause) {
    throw new TallyError('DRIVER_MISSING', {
      what: 'the driver of Neo4j cannot be loaded',
      where: 'neo4j',
      mend: 'run `npm install neo4j-driver`',
      details: { package: 'neo4j-driver' },
      cause,
    });
  }
}
