import type { Problem } from './document.ts';
import type { Finding } from './finding.ts';

/** A finding for a person: place, what, why, remedy, price. */
export function findingText({ file, at, severity, id, why, remedy, cost }: Finding): string {
  return [
    `${file}:${at.line}:${at.column}  ${severity}  ${id}`,
    `  ${why}.`,
    `  remedy: ${remedy}.`,
    `  ignored, it costs: ${cost}.`,
  ].join('\n');
}

/** A problem of a file for a person. */
export function problemText({ at, path, what, mend }: Problem, file: string): string {
  return `${file}:${at.line}:${at.column}  ${path === '' ? '' : `${path}: `}${what}. ${mend}.`;
}

/** How many of each severity. */
export function countText(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'nothing found';
  const counts = (['error', 'warning', 'note'] as const).flatMap((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length;
    return count === 0 ? [] : [`${count} ${severity}${count === 1 ? '' : 's'}`];
  });
  return counts.join(', ');
}
