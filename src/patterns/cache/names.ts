import { isLaneName } from '../../core/evidence.ts';
import { TallyError } from '../../core/errors.ts';

/** Begins the names of what is not simply a key: no text that people give as a key begins with it by accident. */
const MARK = '\u0001';

/**
 * The name of a key in the shared tier: the key itself, behind its namespace if it has one. A key that looks like a name
 * with a namespace is marked, so that no two keys have one name. Throws VALUE_UNSUPPORTED.
 */
export function nameOf(namespace: string, key: unknown): string {
  if (typeof key !== 'string')
    throw new TallyError('VALUE_UNSUPPORTED', {
      what: `the key function answered ${key === null ? 'null' : `a ${typeof key}`}, not text`,
      where: 'cache.key',
      mend: 'make it answer a text for every key',
    });
  if (namespace !== '') return MARK + namespace + MARK + key;
  return key.startsWith(MARK) ? MARK + MARK + key : key;
}

/** The tags by which the namespaces that a name is in are invalidated: its own, and those around it. */
export function namespaceTags(name: string): readonly string[] {
  if (!name.startsWith(MARK) || name.startsWith(MARK + MARK)) return [];
  const path = name.slice(1, name.indexOf(MARK, 1)).split('/');
  return path.map((_, depth) => namespaceTag(path.slice(0, depth + 1).join('/')));
}

export function namespaceTag(namespace: string): string {
  return MARK + namespace;
}

/** A namespace within another. Throws CONFIG_INVALID. */
export function innerNamespace(outer: string, name: string): string {
  if (!isLaneName(name) || name.startsWith('/') || name.endsWith('/'))
    throw new TallyError('CONFIG_INVALID', {
      what: 'this cannot name a part of a cache',
      mend: 'use 1 to 64 of the characters A-Z a-z 0-9 _ . : -, with / between parts',
    });
  return outer === '' ? name : `${outer}/${name}`;
}
