import type { RuleText } from '../finding.ts';
import type { Operation } from './operation.ts';

/** The same question this often in one request is asked for rows, not for the request. */
export const REPEATED_MIN = 5;
/** Twice as often is no matter of taste. */
const REPEATED_ERROR_MIN = 10;
/** Calls between two services for one request. */
export const CHATTY_MIN = 15;
/** Only what takes this long is worth asking at the same time. */
const SERIAL_MS_MIN = 10;
/** Different questions one after another. */
const SERIAL_MIN = 3;

/** What one pattern was seen to be in one trace. */
export interface Sighting {
  readonly rule: RuleText;
  readonly subject: string;
  readonly service: string;
  readonly trace: string;
  readonly count: number;
  readonly why: string;
  readonly error?: true;
}

const nPlusOne: RuleText = {
  id: 'n-plus-one',
  severity: 'warning',
  about: 'One question is asked again and again within one request.',
  remedy: 'collect the keys and ask once, with a loader or an IN list',
  cost: 'the request gets slower with each row that it shows, and the store does the work of a hundred users for one',
};

const serialCalls: RuleText = {
  id: 'serial-calls',
  severity: 'note',
  about: 'Different questions are asked one after another.',
  remedy: 'ask those that do not need one another at the same time',
  cost: 'the request takes the sum of them where it could take the longest',
};

const chattyBoundary: RuleText = {
  id: 'chatty-boundary',
  severity: 'warning',
  about: 'One request crosses the boundary of two services many times.',
  remedy: 'offer one call that answers it, or move the data to where it is asked for',
  cost: 'each crossing can fail and be slow: the boundary is in the wrong place',
};

/** What is to be seen in one trace. The order of the operations does not matter. */
export function sightings(operations: readonly Operation[]): readonly Sighting[] {
  return [...repeated(operations), ...chatty(operations), ...serial(operations)];
}

function* repeated(operations: readonly Operation[]): Generator<Sighting> {
  const groups = grouped(
    operations,
    ({ parent, service, target, template }) => `${service}\n${target}\n${template}\n${parent}`,
  );
  for (const group of groups) {
    const [first] = group;
    if (first === undefined || group.length < REPEATED_MIN) continue;
    yield {
      rule: nPlusOne,
      subject: `${first.service} → ${first.target}: ${first.template.slice(0, 120)}`,
      service: first.service,
      trace: first.trace,
      count: group.length,
      why: `${first.service} asks ${first.target} the same thing ${group.length} times in one request: ${first.template.slice(0, 200)}`,
      ...(group.length >= REPEATED_ERROR_MIN ? { error: true as const } : {}),
    };
  }
}

function* chatty(operations: readonly Operation[]): Generator<Sighting> {
  const groups = grouped(
    operations.filter(({ kind }) => kind === 'call'),
    ({ service, target }) => `${service}\n${target}`,
  );
  for (const group of groups) {
    const [first] = group;
    if (first === undefined || group.length < CHATTY_MIN) continue;
    yield {
      rule: chattyBoundary,
      subject: `${first.service} → ${first.target}`,
      service: first.service,
      trace: first.trace,
      count: group.length,
      why: `${first.service} calls ${first.target} ${group.length} times for one request`,
    };
  }
}

/**
 * The longest row of different questions of one parent of which each begins after the one before has ended: taken by
 * their ends, the earliest first. What runs at the same time as one that was taken is left out.
 */
function* serial(operations: readonly Operation[]): Generator<Sighting> {
  const slow = operations.filter(({ startMs, endMs }) => endMs - startMs >= SERIAL_MS_MIN);
  for (const group of grouped(slow, ({ parent, service }) => `${service}\n${parent}`)) {
    const sorted = group.toSorted(
      (left, right) =>
        left.endMs - right.endMs ||
        left.startMs - right.startMs ||
        compare(questionOf(left), questionOf(right)),
    );
    const row: Operation[] = [];
    const asked = new Set<string>();
    for (const operation of sorted) {
      const last = row.at(-1);
      if (last !== undefined && operation.startMs < last.endMs) continue;
      if (asked.has(questionOf(operation))) continue;
      asked.add(questionOf(operation));
      row.push(operation);
    }
    const [first] = row;
    if (first === undefined || row.length < SERIAL_MIN) continue;
    const lengths = row.map(({ startMs, endMs }) => endMs - startMs);
    const sum = lengths.reduce((total, length) => total + length, 0);
    const targets = [...new Set(row.map(({ target }) => target))].toSorted().join(', ');
    yield {
      rule: serialCalls,
      subject: `${first.service}: ${row.map(questionOf).toSorted().join(' | ').slice(0, 200)}`,
      service: first.service,
      trace: first.trace,
      count: row.length,
      why: `${first.service} asks ${targets} ${row.length} different things one after another: ${Math.round(sum)} ms, together ${Math.round(Math.max(...lengths))} ms`,
    };
  }
}

function questionOf({ target, template }: Operation): string {
  return `${target} ${template}`;
}

function compare(left: string, right: string): number {
  return left < right ? -1 : Number(left > right);
}

function grouped(
  operations: readonly Operation[],
  keyOf: (operation: Operation) => string,
): Iterable<readonly Operation[]> {
  const groups = new Map<string, Operation[]>();
  for (const operation of operations) {
    const key = keyOf(operation);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [operation]);
    else group.push(operation);
  }
  return groups.values();
}
