import { errorText, TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions, fieldPath, suggest } from '../../core/options.ts';
import { checkSchema, isStandardSchema, type StandardSchema } from '../../core/standard-schema.ts';
import type { DomainEvent, EventType, Upcast } from './event.ts';

/** An event as it is stored: its data is that of the schema version it was written in. */
export interface WrittenEvent {
  readonly type: string;
  readonly schemaVersion: number;
  readonly data: unknown;
  /** Where it stands, for messages. */
  readonly stream?: string;
  readonly version?: number;
}

/** Reads stored events as the types of today. */
export interface EventTypes {
  /** The names of today, in the order they were declared. */
  readonly names: readonly string[];
  /** Every name that an event may be stored under: the present ones and the former ones. */
  readonly storedNames: readonly string[];
  /** The schema version that events of a type are written in. Throws EVENT_UNKNOWN. */
  versionOf(type: string): number;
  /**
   * A stored event as it would be written today: renamed, brought up version by version, checked against its schema.
   * Throws EVENT_UNKNOWN for a type, or a version, that nothing is declared for, and EVENT_INVALID if an upcast throws
   * or the data does not fit. A promise only where the schema is asynchronous.
   */
  read(stored: WrittenEvent): DomainEvent | Promise<DomainEvent>;
  /** Checks an event that is about to be written. Throws EVENT_UNKNOWN or EVENT_INVALID. */
  check(event: DomainEvent, where: string): void | Promise<void>;
  /** What reading depends on, as text: part of a snapshot's fingerprint. */
  readonly fingerprint: string;
}

/** Versions of one type. Nobody writes a thousandth upcast; a number above it is a timestamp by mistake. */
const SCHEMA_VERSION_MAX = 1_000;

const optionNames = ['version', 'schema', 'upcast', 'formerly'] as const;

interface Known {
  readonly type: string;
  readonly version: number;
  readonly schema: StandardSchema | undefined;
  /** Index 0 brings version 1 to 2. */
  readonly upcasts: readonly Upcast[];
}

/**
 * Declares the types of events that are known, with the chain that brings each older version up. Throws CONFIG_INVALID
 * for a gap in a chain, an upcast from a version that is not older than the present one, and a name that two types claim.
 */
export function eventTypes(
  types: Readonly<Record<string, EventType>>,
  path = 'events',
): EventTypes {
  const names = Object.keys(types);
  if (names.length === 0) throw invalid(path, 'names no event', 'name each type of event');
  const byName = new Map<string, Known>();
  for (const [type, options] of Object.entries(types)) {
    const known = knownType(type, options, fieldPath(path, type));
    for (const name of [type, ...(options.formerly ?? [])]) {
      if (byName.has(name))
        throw invalid(
          fieldPath(path, type),
          `claims the name ${JSON.stringify(name)}, which another type has`,
          'let each name, present or former, belong to one type',
        );
      byName.set(name, known);
    }
  }
  const find = (type: string): Known | undefined => byName.get(type);
  return {
    names,
    storedNames: [...byName.keys()],
    versionOf: (type) => (find(type) ?? unknownType(type, undefined, names)).version,
    read: (stored) =>
      readEvent(find(stored.type) ?? unknownType(stored.type, placeOf(stored), names), stored),
    check: (event, where) => {
      const known = find(event.type);
      // A former name is for reading only.
      if (known?.type !== event.type) unknownType(event.type, where, names);
      return fits(known, event, () => where, 'decide events that fit it, or widen it');
    },
    fingerprint: Array.from(byName, ([name, { type, version, upcasts }]) =>
      [name, type, version, ...upcasts.map(String)].join(' '),
    ).join('\n'),
  };
}

function knownType(type: string, options: EventType, path: string): Known {
  checkOptions(options, optionNames, path);
  const version = checkNumber(options.version ?? 1, fieldPath(path, 'version'), {
    min: 1,
    max: SCHEMA_VERSION_MAX,
    integer: true,
  });
  if (options.schema !== undefined && !isStandardSchema(options.schema))
    throw invalid(
      fieldPath(path, 'schema'),
      'is not a schema',
      'give one of a library that speaks Standard Schema 1, such as Zod or Valibot',
    );
  const given = options.upcast ?? {};
  const upcasts = Array.from({ length: version - 1 }, (_, index): Upcast => {
    const upcast = given[index + 1];
    if (typeof upcast === 'function') return upcast;
    throw invalid(
      fieldPath(path, 'upcast'),
      `leaves a gap: nothing brings version ${index + 1} of ${type} to ${index + 2}`,
      `give a function for ${index + 1}; events of that version may be stored`,
    );
  });
  const beyond = Object.keys(given).find((from) => !(Number(from) >= 1 && Number(from) < version));
  if (beyond !== undefined)
    throw invalid(
      fieldPath(path, 'upcast'),
      `has an upcast from version ${beyond}, and ${type} is written in version ${version}`,
      'raise version, or take the upcast out',
    );
  return { type, version, schema: options.schema, upcasts };
}

function readEvent(known: Known, stored: WrittenEvent): DomainEvent | Promise<DomainEvent> {
  const { type, version, upcasts } = known;
  const from = stored.schemaVersion;
  if (!Number.isInteger(from) || from < 1 || from > version)
    throw new TallyError('EVENT_UNKNOWN', {
      what: `version ${String(from)} of the event ${stored.type} is not known here, only 1 to ${version}`,
      where: placeOf(stored),
      mend: 'deploy the code that knows it before code that writes it; or declare the version and its upcast',
      details: { type: stored.type, version: from },
    });
  let data: unknown = stored.data;
  for (let at = from; at < version; at++) {
    try {
      data = (upcasts[at - 1] as (data: unknown) => unknown)(data);
    } catch (cause) {
      throw new TallyError('EVENT_INVALID', {
        what: `the upcast of ${stored.type} from version ${at} to ${at + 1} threw: ${errorText(cause, 200)}`,
        where: placeOf(stored),
        mend: 'let the upcast accept everything that was ever written in that version; a golden file shows what that is',
        details: { type: stored.type, version: at },
        cause,
      });
    }
  }
  const event: DomainEvent = { type, data };
  const checked = fits(
    known,
    event,
    () => placeOf(stored),
    'look at what wrote it, or widen the schema: history is not rewritten',
  );
  return checked === undefined ? event : checked.then(() => event);
}

function placeOf({ stream, version, type, schemaVersion }: WrittenEvent): string {
  const event = `${type} of version ${schemaVersion}`;
  return stream === undefined ? event : `event ${version} of ${stream}`;
}

/** The schema may not change the data: what is stored is what was decided, so what it hands back is not used. */
function fits(
  known: Known,
  event: DomainEvent,
  where: () => string,
  mend: string,
): Promise<void> | undefined {
  if (known.schema === undefined) return undefined;
  const checked = checkSchema(known.schema, event.data, () => ({
    code: 'EVENT_INVALID',
    what: `the event ${event.type}`,
    where: where(),
    mend,
  }));
  return checked instanceof Promise ? checked.then(() => undefined) : undefined;
}

function unknownType(type: string, where: string | undefined, names: readonly string[]): never {
  const near = suggest(type, names);
  throw new TallyError('EVENT_UNKNOWN', {
    what: `there is no event ${JSON.stringify(type.slice(0, 80))}`,
    ...(where === undefined ? {} : { where }),
    mend:
      near === undefined
        ? 'declare it, or name it in formerly of the type that it became'
        : `did you mean ${near}? If it was renamed, name it in formerly of the type that it became`,
    details: { type },
  });
}

function invalid(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
