import { analytics } from './catalogue/analytics.ts';
import { commercialSql } from './catalogue/commercial-sql.ts';
import { coordination } from './catalogue/coordination.ts';
import { distributedSql } from './catalogue/distributed-sql.ts';
import { documents } from './catalogue/document.ts';
import { graphs } from './catalogue/graph.ts';
import { keyValue } from './catalogue/key-value.ts';
import { logs } from './catalogue/logs.ts';
import { inMemory } from './catalogue/memory.ts';
import { objects } from './catalogue/objects.ts';
import { relational } from './catalogue/relational.ts';
import { search } from './catalogue/search.ts';
import { timeSeries } from './catalogue/time-series.ts';
import { wideColumn } from './catalogue/wide-column.ts';
import type { Fact } from './fact.ts';
import type { SystemProfile } from './system.ts';

/** Every system that the advisor knows, in the order of its families. */
export const catalogue: readonly SystemProfile[] = [
  ...relational,
  ...commercialSql,
  ...distributedSql,
  ...inMemory,
  ...keyValue,
  ...documents,
  ...search,
  ...wideColumn,
  ...graphs,
  ...timeSeries,
  ...analytics,
  ...logs,
  ...objects,
  ...coordination,
];

const byName: ReadonlyMap<string, SystemProfile> = new Map(
  catalogue.flatMap((system) =>
    [system.id, ...system.aliases].map((name) => [name, system] as const),
  ),
);

/** The system of this name or alias, letter case not counted. */
export function findSystem(name: string): SystemProfile | undefined {
  return byName.get(name.toLowerCase());
}

/** Every name and alias, for suggestions. */
export function systemNames(): readonly string[] {
  return [...byName.keys()];
}

/** A fact with the place it has in its system, such as `configurations.single.durability`. */
export interface NamedFact {
  readonly name: string;
  readonly fact: Fact<unknown>;
}

/** Every fact about a system. */
export function factsOf(system: SystemProfile): readonly NamedFact[] {
  const found: NamedFact[] = [];
  const add = (name: string, fact: Fact<unknown> | undefined): void => {
    if (fact !== undefined) found.push({ name, fact });
  };
  for (const name of [
    'models',
    'queries',
    'readMs',
    'bytesMax',
    'itemBytesMax',
    'license',
    'run',
    'driver',
    'operations',
    'caution',
  ] as const)
    add(name, system[name]);
  for (const one of system.configurations)
    for (const name of [
      'cap',
      'pacelc',
      'guarantees',
      'durability',
      'transactions',
      'reach',
      'survives',
    ] as const)
      add(`configurations.${one.id}.${name}`, one[name]);
  for (const [index, price] of system.prices.entries()) add(`prices[${index}]`, price);
  return found;
}
