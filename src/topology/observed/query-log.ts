import { TallyError } from '../../core/errors.ts';
import { jsonLines } from './lines.ts';
import { templateOf, type Observations, type Operation } from './operation.ts';

/** One line of a query log, as an application writes it where it asks a store. */
export interface QueryLogLine {
  /** What one request has in common. */
  readonly trace: string;
  /** What asked, within the request; lines of one parent are compared with one another. */
  readonly parent?: string;
  readonly service: string;
  /** The store as it is declared: its name, `SERVICE.ROLE`, or the role. */
  readonly store: string;
  readonly statement: string;
  readonly startMs: number;
  readonly durationMs: number;
}

/** The operations of a query log, one JSON object a line. Throws INPUT_INVALID with the line and the field. */
export function readQueryLog(text: string, file: string): Observations {
  const operations: Operation[] = [];
  const services = new Set<string>();
  for (const [line, value] of jsonLines(text, file)) {
    const {
      trace,
      parent = '',
      service,
      store,
      statement,
      startMs,
      durationMs,
    } = lineOf(value, `${file}:${line}`);
    services.add(service);
    operations.push({
      trace,
      id: `line ${line}`,
      parent,
      service,
      kind: 'store',
      target: store,
      template: templateOf(statement),
      startMs,
      endMs: startMs + durationMs,
    });
  }
  return { operations, services, spans: operations.length };
}

function lineOf(value: object, where: string): QueryLogLine {
  const row = value as Readonly<Record<string, unknown>>;
  const wrong =
    (['trace', 'service', 'store', 'statement'] as const).find(
      (name) => typeof row[name] !== 'string',
    ) ?? (['startMs', 'durationMs'] as const).find((name) => !Number.isFinite(row[name]));
  if (wrong !== undefined || !['string', 'undefined'].includes(typeof row['parent']))
    throw new TallyError('INPUT_INVALID', {
      what: `the field ${wrong ?? 'parent'} is missing or of another type`,
      where,
      mend: 'write trace, service, store, statement as texts, startMs and durationMs as numbers',
    });
  return value as QueryLogLine;
}
