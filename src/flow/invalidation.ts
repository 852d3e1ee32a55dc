import type { Change } from '../core/change.ts';
import { decodeValue, encodeValue } from '../core/codec.ts';
import { errorText, TallyError } from '../core/errors.ts';
import { checkOneOf, checkOptions } from '../core/options.ts';
import type { Row, Value } from '../core/row.ts';
import { flow, put, type FlowDefinition, type FlowOptions, type Put } from './definition.ts';

/** A flow that tells a cache what has changed. */
export interface InvalidationOptions extends Pick<FlowOptions, 'from' | 'tables' | 'batchRows'> {
  /** The cache, by its name in `tally({ caches })`. */
  readonly to: string;
  /**
   * The keys whose values were made of this row: a list, and empty for none. Asked for the row before a change and for the
   * row after it. Pure, as a projection is.
   */
  readonly keys?: (row: Row, change: Change) => readonly unknown[];
  /** The tags that are invalidated, likewise. */
  readonly tags?: (row: Row, change: Change) => readonly string[];
  /** The part of the cache that `keys` are of, as `cache.namespace` names it. */
  readonly namespace?: (row: Row) => string;
  /** `load`: keys that the cache had are loaded at once, rather than by their next reader. Default `invalidate`. */
  readonly afterwards?: 'invalidate' | 'load';
}

/** What the writes of such a flow are about. */
const INTO = ['keys', 'tags', 'all'] as const;

const names = ['from', 'tables', 'batchRows', 'to', 'keys', 'tags', 'namespace', 'afterwards'];

/**
 * Declares a flow from a store that owns facts to a cache: what is written there, by whomever, is invalidated here. A change
 * whose keys cannot be told, because `keys` or `tags` throws or answers no list, invalidates everything: no value is
 * stale for a bug in them. Throws CONFIG_INVALID or CONFIG_UNKNOWN_OPTION, with the path of the field.
 */
export function invalidation(options: InvalidationOptions): FlowDefinition {
  checkOptions(options, names, 'invalidation');
  const { from, to, tables, batchRows, keys, tags } = options;
  if (keys === undefined && tags === undefined)
    throw new TallyError('CONFIG_INVALID', {
      what: 'it tells neither keys nor tags',
      where: 'invalidation',
      mend: 'give keys: (row) => [row.id], or tags',
      details: { path: 'invalidation' },
    });
  checkOneOf(options.afterwards ?? 'invalidate', 'invalidation.afterwards', ['invalidate', 'load']);
  const definition = flow({
    from,
    tables,
    to,
    into: INTO,
    project: (row, change) => toldOrAll(options, row, change),
    ...(batchRows === undefined ? {} : { batchRows }),
  });
  return { ...definition, starts: 'emptied' };
}

function toldOrAll(options: InvalidationOptions, row: Row, change: Change): readonly Put[] {
  try {
    return told(options, row, change);
  } catch (error) {
    return [put('all', ['all'], { reason: errorText(error, REASON_CHARACTERS_MAX) })];
  }
}

const REASON_CHARACTERS_MAX = 300;

function told(
  { keys, tags, namespace, afterwards }: InvalidationOptions,
  row: Row,
  change: Change,
): readonly Put[] {
  const about = { lane: change.lane, load: afterwards === 'load' };
  const part = namespace?.(row) ?? '';
  const ofKeys = listed(keys?.(row, change) ?? [], 'keys').map((key) =>
    put('keys', [encodeValue([part, key as Value])], about),
  );
  const ofTags = listed(tags?.(row, change) ?? [], 'tags').map((tag) => {
    if (typeof tag !== 'string') throw new TypeError(`a tag is a ${typeof tag}`);
    return put('tags', [tag], about);
  });
  return [...ofKeys, ...ofTags];
}

function listed(answer: unknown, name: string): readonly unknown[] {
  if (Array.isArray(answer)) return answer;
  // Nobody will look at a promise: what it rejects with must not end the process.
  if (answer instanceof Promise) answer.catch(() => undefined);
  throw new TypeError(`${name} answered no list`);
}

/** The namespace and the key that a write to `keys` is about. */
export function toldKey(text: string): readonly [namespace: string, key: unknown] {
  return decodeValue(text) as unknown as readonly [string, unknown];
}
