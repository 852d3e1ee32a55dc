import { checkDuration, checkNumber, checkOptions } from '../../core/options.ts';
import type { SagaDefinition } from './definition.ts';
import type { SagaEngineOptions } from './engine.ts';
import { Registry } from './registry.ts';
import { Schedules } from './schedule.ts';

type Setup = Pick<
  SagaEngineOptions,
  'definitions' | 'schedules' | 'observe' | 'leaseMs' | 'runningMax'
>;

/** Shorter than this a pause of the process looks like its end. */
const LEASE_MIN_MS = 500;
const LEASE_MAX_MS = 600_000;

/**
 * The sagas that an application declares, checked: two definitions of one name and version, options and schedules.
 * Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION.
 */
export function checkSagaSetup(given: readonly SagaDefinition[] | Setup | undefined): Setup {
  const setup = isList(given) ? { definitions: given } : (given ?? { definitions: [] });
  checkOptions(
    setup,
    ['definitions', 'schedules', 'observe', 'leaseMs', 'runningMax'],
    'tally.sagas',
  );
  const { definitions, schedules = {}, leaseMs, runningMax } = setup;
  if (leaseMs !== undefined)
    checkDuration(leaseMs, 'tally.sagas.leaseMs', { min: LEASE_MIN_MS, max: LEASE_MAX_MS });
  if (runningMax !== undefined)
    checkNumber(runningMax, 'tally.sagas.runningMax', { min: 1, integer: true });
  const registry = new Registry(definitions);
  for (const definition of new Schedules(schedules).definitions) registry.add(definition);
  return setup;
}

function isList(given: unknown): given is readonly SagaDefinition[] {
  return Array.isArray(given);
}
