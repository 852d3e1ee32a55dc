/** What an application was seen to do: one question to a store, one call of a service. */
export interface Operation {
  readonly trace: string;
  readonly id: string;
  readonly parent: string;
  readonly service: string;
  readonly kind: 'store' | 'call';
  /** The store or service that was asked: a declared name, or the system that a span names. */
  readonly target: string;
  /** What was asked, without its values. */
  readonly template: string;
  readonly startMs: number;
  readonly endMs: number;
}

/** What was read, and what could not be. */
export interface Observations {
  readonly operations: readonly Operation[];
  /** Services that spans came from, also where they asked nobody. */
  readonly services: ReadonlySet<string>;
  readonly spans: number;
}

/** Characters of a statement that are looked at: templates of longer ones differ early enough. */
const STATEMENT_CHARACTERS_MAX = 2_000;

/** Texts, numbers and identifiers that stand for themselves, and places of parameters. One pass: statements are many. */
const VALUES =
  /'(?:[^']|'')*'|(?<![\w$])(?:0x[\da-f]+\b|[\da-f]{8}-[\da-f-]{27}\b|-?\d+(?:\.\d+)?\b)|[$:@]\w+|%s/gi;
const LISTS = /\?(?:\s*,\s*\?)+/g;
const SPACES = /\s{2,}|[\t\n\r]/g;

/** Templates that are remembered: applications have hundreds of statements, and each is asked thousands of times. */
const TEMPLATES_MAX = 10_000;
const known = new Map<string, string>();

/**
 * A statement without its values: texts, numbers and lists of them become `?`, so that one question asked for fifty ids
 * is one question. Statements that were sanitised before they were recorded pass unchanged.
 */
export function templateOf(statement: string): string {
  const cached = known.get(statement);
  if (cached !== undefined) return cached;
  const text = statement.slice(0, STATEMENT_CHARACTERS_MAX).replace(VALUES, '?');
  const template = (text.includes(',') ? text.replace(LISTS, '?') : text)
    .replace(SPACES, ' ')
    .trim();
  if (known.size >= TEMPLATES_MAX) known.clear();
  known.set(statement, template);
  return template;
}
