import { TallyError } from '../../../core/errors.ts';
import { checkObject, checkOptions, checkString, fieldPath } from '../../../core/options.ts';

/** A mapping of the server (`{ type: 'text', analyzer: 'german' }`), or just its type: `'keyword'`. */
export type FieldMapping = string | Readonly<Record<string, unknown>>;

/** Rows as documents; made by `documents`. */
export interface DocumentsTarget {
  readonly kind: 'documents';
  readonly fields: Readonly<Record<string, FieldMapping>> | undefined;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Target declarations by name. */
export type Targets = Readonly<Record<string, DocumentsTarget>>;

/** Where the coordinator keeps its own in a document. */
export const OWN_FIELD = '_tally';

/**
 * Rows as documents, one for each row, with the members of the row as fields. With `fields` the mapping is strict: a row
 * with another member is refused and parked, instead of changing the index for ever. Without, the server makes fields of
 * what it sees; only texts that look like dates stay texts. `settings` are those of an index (`number_of_shards`,
 * `analysis`, `refresh_interval`). Throws CONFIG_INVALID, CONFIG_UNKNOWN_OPTION.
 *
 * @example documents({ fields: { sku: 'keyword', name: 'text', price: 'long' } })
 */
export function documents(
  options: {
    readonly fields?: Readonly<Record<string, FieldMapping>>;
    readonly settings?: Readonly<Record<string, unknown>>;
  } = {},
): DocumentsTarget {
  checkOptions(options, ['fields', 'settings'], 'documents');
  const { fields, settings = {} } = options;
  checkObject(settings, 'documents.settings');
  if (fields !== undefined) {
    checkObject(fields, 'documents.fields');
    for (const [name, mapping] of Object.entries(fields)) {
      const path = fieldPath('documents.fields', name);
      if (typeof mapping === 'string') checkString(mapping, path);
      else checkObject(mapping, path);
      if (name === OWN_FIELD) throw ownField(path);
    }
  }
  return { kind: 'documents', fields, settings };
}

/** Checks declarations without connecting. Throws CONFIG_INVALID. */
export function checkTargets(targets: unknown, path: string): Targets {
  for (const [name, target] of Object.entries(checkObject(targets, path))) {
    const where = fieldPath(path, name);
    if (checkObject(target, where)['kind'] === 'documents') continue;
    throw new TallyError('CONFIG_INVALID', {
      what: `the target ${name} is not a target`,
      where,
      mend: 'make it with documents()',
      details: { path: where },
    });
  }
  return targets as Targets;
}

const undeclared = documents();

/** What the coordinator keeps of each row. Text of one width sorts as the fences do. */
const ownMapping = {
  properties: {
    key: { type: 'keyword' },
    fence: { type: 'keyword' },
    ordinal: { type: 'integer' },
    deleted: { type: 'boolean' },
  },
};

/** Readers see no tombstones. */
export const readersFilter = { bool: { must_not: { exists: { field: `${OWN_FIELD}.deleted` } } } };

/** The declarations of all targets, and what indices are made of them. */
export class Catalogue {
  readonly #targets: Targets;

  constructor(targets: Targets) {
    this.#targets = targets;
  }

  /** The mapping of a target, without `_meta`. */
  mapping(target: string): Readonly<Record<string, unknown>> {
    const { fields } = this.#declaration(target);
    const properties = Object.fromEntries(
      Object.entries(fields ?? {}).map(([name, mapping]) => [
        name,
        typeof mapping === 'string' ? { type: mapping } : mapping,
      ]),
    );
    return {
      dynamic: fields === undefined ? 'true' : 'strict',
      // A text that happens to look like a date would make every later text a mapping conflict.
      date_detection: false,
      properties: { ...properties, [OWN_FIELD]: ownMapping },
    };
  }

  settings(target: string): Readonly<Record<string, unknown>> {
    const { settings } = this.#declaration(target);
    const replicas = 'number_of_replicas' in settings || 'auto_expand_replicas' in settings;
    return {
      // A copy where there is a second node, and no warning where there is none.
      ...(replicas ? {} : { auto_expand_replicas: '0-1' }),
      ...settings,
      // Deleted documents need no memory of their own: what is deleted leaves a tombstone, which is a document.
      gc_deletes: '0ms',
      // What was answered survives the loss of power: the checkpoint comes after it.
      'translog.durability': 'request',
    };
  }

  #declaration(target: string): DocumentsTarget {
    return Object.hasOwn(this.#targets, target)
      ? (this.#targets[target] ?? undeclared)
      : undeclared;
  }
}

function ownField(path: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: `the field ${OWN_FIELD} is the coordinator's own`,
    where: path,
    mend: 'give the field another name',
    details: { path },
  });
}
