/** Request headers, as node:http, Express and Fastify have them, or a `Headers` object. */
export type IncomingHeaders =
  | Readonly<Record<string, string | readonly string[] | undefined>>
  | { get(name: string): string | null };

/** The text of a header, whatever the case of its name; several lines are joined as HTTP joins them. Empty if there is none. */
export function textOfHeader(headers: IncomingHeaders, wanted: string): string {
  if (hasGet(headers)) return headers.get(wanted) ?? '';
  const found = Object.keys(headers).filter((name) => name.toLowerCase() === wanted);
  return found.flatMap((name) => headers[name] ?? []).join(',');
}

function hasGet(headers: IncomingHeaders): headers is { get(name: string): string | null } {
  return typeof headers['get' as keyof IncomingHeaders] === 'function';
}
