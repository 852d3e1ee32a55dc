import { jsonLines } from './lines.ts';
import { templateOf, type Observations, type Operation } from './operation.ts';

// OTLP in JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. Attribute names of two generations of
// the semantic conventions are read, since both are in the field.

interface Attribute {
  readonly key?: unknown;
  readonly value?: { readonly stringValue?: unknown; readonly intValue?: unknown };
}

interface RawSpan {
  readonly traceId?: unknown;
  readonly spanId?: unknown;
  readonly parentSpanId?: unknown;
  readonly name?: unknown;
  readonly kind?: unknown;
  readonly startTimeUnixNano?: unknown;
  readonly endTimeUnixNano?: unknown;
  readonly attributes?: readonly Attribute[];
}

interface Group {
  readonly resource?: { readonly attributes?: readonly Attribute[] };
  readonly scopeSpans?: readonly { readonly spans?: readonly RawSpan[] }[];
}

interface Export {
  readonly resourceSpans?: readonly Group[];
}

interface Seen {
  readonly service: string;
  readonly trace: string;
  readonly parent: string;
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  /** Whether an operation was made of it already. */
  readonly told: boolean;
}

/**
 * The operations of exported spans: each question to a store, each call of another service. A span that occurs twice, as
 * exporters that retry write it, counts once. Throws INPUT_INVALID with the line.
 */
export function readSpans(text: string, file: string): Observations {
  const seen = new Map<string, Seen>();
  const services = new Set<string>();
  const operations: Operation[] = [];
  for (const [, value] of jsonLines(text, file)) {
    for (const group of list((value as Export).resourceSpans)) {
      const service = attribute(group.resource?.attributes, 'service.name') ?? 'unknown';
      services.add(service);
      for (const scope of list(group.scopeSpans))
        for (const span of list(scope.spans)) take(span, service);
    }
  }
  addCrossings(seen, operations);
  return { operations, services, spans: seen.size };

  function take(span: RawSpan, service: string): void {
    const { traceId, spanId, parentSpanId, name } = span;
    if (typeof traceId !== 'string' || typeof spanId !== 'string') return;
    const key = `${traceId} ${spanId}`;
    if (seen.has(key)) return;
    const startMs = milliseconds(span.startTimeUnixNano);
    const endMs = milliseconds(span.endTimeUnixNano);
    const asked = target(span);
    const parent = typeof parentSpanId === 'string' ? parentSpanId : '';
    const title = typeof name === 'string' ? name : '';
    seen.set(key, {
      service,
      trace: traceId,
      parent,
      name: title,
      startMs,
      endMs,
      told: asked !== undefined,
    });
    if (asked !== undefined)
      operations.push({ trace: traceId, id: spanId, parent, service, startMs, endMs, ...asked });
  }
}

/** A span whose parent is of another service is a call of it, if the caller’s own span did not say whom it called. */
function addCrossings(seen: ReadonlyMap<string, Seen>, operations: Operation[]): void {
  for (const [key, span] of seen) {
    const parent = seen.get(`${span.trace} ${span.parent}`);
    if (parent === undefined || parent.service === span.service || parent.told) continue;
    operations.push({
      trace: span.trace,
      id: key.slice(span.trace.length + 1),
      parent: parent.parent,
      service: parent.service,
      kind: 'call',
      target: span.service,
      template: templateOf(span.name),
      startMs: parent.startMs,
      endMs: parent.endMs,
    });
  }
}

function target(span: RawSpan): Pick<Operation, 'kind' | 'target' | 'template'> | undefined {
  let system: string | undefined;
  let statement: string | undefined;
  let peer: string | undefined;
  for (const { key, value } of list(span.attributes)) {
    const text = value?.stringValue;
    if (typeof text !== 'string') continue;
    switch (key) {
      case 'db.system':
      case 'db.system.name':
      case 'messaging.system':
        system = text;
        break;
      case 'db.statement':
      case 'db.query.text':
        statement = text;
        break;
      case 'peer.service':
      case 'service.peer.name':
        peer = text;
        break;
      default:
    }
  }
  const name = typeof span.name === 'string' ? span.name : '';
  if (system !== undefined)
    return { kind: 'store', target: system, template: templateOf(statement ?? name) };
  if (peer !== undefined) return { kind: 'call', target: peer, template: templateOf(name) };
  return undefined;
}

function attribute(attributes: readonly Attribute[] | undefined, name: string): string | undefined {
  const value = list(attributes).find(({ key }) => key === name)?.value?.stringValue;
  return typeof value === 'string' ? value : undefined;
}

function list<Item>(value: readonly Item[] | undefined): readonly Item[] {
  return Array.isArray(value) ? value : [];
}

/** Nanoseconds, as a text or a number, to milliseconds. A double holds today’s to a quarter of a microsecond. */
function milliseconds(value: unknown): number {
  const nanoseconds = typeof value === 'string' || typeof value === 'number' ? Number(value) : 0;
  return Number.isFinite(nanoseconds) ? nanoseconds / 1e6 : 0;
}
