/** An identifier for SQL text, whatever characters it has. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text literal for SQL text. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
