import { isTallyError, TallyError } from '../../core/errors.ts';
import { checkNumber, checkOptions, checkString } from '../../core/options.ts';
import type { Row, Value } from '../../core/row.ts';
import type { KeyValue } from '../../ports/key-value.ts';

/** Operations of one resource that are kept apart; beyond it the oldest become part of the base. */
const OPERATIONS_MAX = 100;
/** How often one call reads a resource anew because somebody else has changed it. */
const FILE_ATTEMPTS_MAX = 100;

export interface VersionFileOptions<State extends Value, Operation extends Value> {
  /** Where it is kept: any store that writes on condition of a version. */
  readonly keyValue: KeyValue;
  /** What every key starts with. Default `versions/`. */
  readonly prefix?: string;
  /** What a resource is before any operation. */
  readonly initial: State;
  /** Pure: called again with the same operations in the order of their versions. */
  readonly apply: (state: State, operation: Operation) => State;
  /** Operations of one resource that are kept apart. Default 100. */
  readonly operationsMax?: number;
}

/**
 * What became of an operation. `recorded`: it counts. `again`: that version was recorded before, and the first one
 * counts. `superseded`: it came so late that its place is closed; it does not count.
 */
export type RecordOutcome = 'recorded' | 'again' | 'superseded';

/** Resources whose operations count in the order of their versions, in whatever order they arrive. */
export interface VersionFile<State extends Value, Operation extends Value> {
  /** Notes an operation under its version: of the resource, given by whoever orders it, from 1. */
  record(resource: string, version: number, operation: Operation): Promise<RecordOutcome>;
  /** The resource after all operations so far, and the greatest version among them; 0: none. */
  read(resource: string): Promise<{ readonly state: State; readonly version: number }>;
}

interface File {
  readonly base: Value;
  /** The greatest version that is part of the base. */
  readonly closed: number;
  readonly operations: readonly (readonly [version: number, operation: Value])[];
  /** Of the entry; 0: there is none. */
  readonly entry: number;
}

/**
 * A version file: operations are kept with their versions and applied in that order, so that a cancellation which
 * overtakes what it cancels still comes after it (Frank and Zahle, Semantic ACID properties in multidatabases, 1998).
 * One entry for each resource. An operation that is later than all that are kept apart is `superseded`. Throws
 * CAPABILITY_MISSING for a store without conditions, CONDITION_FAILED for a resource that everybody writes.
 */
export function versionFile<State extends Value, Operation extends Value>(
  options: VersionFileOptions<State, Operation>,
): VersionFile<State, Operation> {
  const known = ['keyValue', 'prefix', 'initial', 'apply', 'operationsMax'];
  checkOptions(options, known, 'versionFile');
  const { keyValue, prefix = 'versions/', initial, operationsMax = OPERATIONS_MAX } = options;
  checkString(prefix, 'versionFile.prefix', { charactersMin: 0, charactersMax: 200 });
  checkNumber(operationsMax, 'versionFile.operationsMax', { min: 1, max: 10_000, integer: true });
  if (!keyValue.supports.compareAndSet)
    throw new TallyError('CAPABILITY_MISSING', {
      what: 'this key-value store cannot write on condition of a version',
      mend: 'keep version files in a store that can',
    });
  const apply = (state: Value, operation: Value): Value =>
    options.apply(state as State, operation as Operation);
  const read = (resource: string): Promise<File> => readFile(keyValue, prefix + resource, initial);
  return {
    async record(resource, version, operation) {
      checkNumber(version, 'record.version', { min: 1, integer: true });
      for (let attempt = 1; ; attempt += 1) {
        const file = await read(resource);
        if (file.operations.some(([recorded]) => recorded === version)) return 'again';
        if (version <= file.closed) return 'superseded';
        const next = closing(inserted(file, version, operation), operationsMax, apply);
        try {
          await writeFile(keyValue, prefix + resource, next);
          return 'recorded';
        } catch (error) {
          if (!isTallyError(error, 'CONDITION_FAILED') || attempt === FILE_ATTEMPTS_MAX)
            throw error;
        }
      }
    },
    async read(resource) {
      const { base, closed, operations } = await read(resource);
      const state = operations.reduce((before, [, operation]) => apply(before, operation), base);
      return { state: state as State, version: operations.at(-1)?.[0] ?? closed };
    },
  };
}

function inserted(file: File, version: number, operation: Value): File {
  const operations = [...file.operations, [version, operation] as const];
  return { ...file, operations: operations.toSorted(([left], [right]) => left - right) };
}

/** Makes the oldest operations part of the base, as many as are too many. */
function closing(
  file: File,
  operationsMax: number,
  apply: (state: Value, operation: Value) => Value,
): File {
  const over = file.operations.slice(0, Math.max(0, file.operations.length - operationsMax));
  return {
    ...file,
    base: over.reduce((before, [, operation]) => apply(before, operation), file.base),
    closed: over.at(-1)?.[0] ?? file.closed,
    operations: file.operations.slice(over.length),
  };
}

async function readFile(keyValue: KeyValue, key: string, initial: Value): Promise<File> {
  const found = await keyValue.get(key);
  if (found === undefined) return { base: initial, closed: 0, operations: [], entry: 0 };
  const { base = null, closed, operations } = found.value as Row;
  return {
    base,
    closed: Number(closed),
    operations: operations as unknown as File['operations'],
    entry: found.version,
  };
}

async function writeFile(keyValue: KeyValue, key: string, file: File): Promise<void> {
  const { base, closed, operations, entry } = file;
  const value = { base, closed, operations: operations.map((one) => [...one]) };
  await keyValue.set(key, value, { ifVersion: entry });
}
