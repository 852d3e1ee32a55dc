import { TallyError } from '../core/errors.ts';
import type { Finding } from './finding.ts';

/** Findings of a baseline: what was there when the lint was first run. */
const BASELINE_FINDINGS_MAX = 50_000;

/** A finding as a baseline knows it: by rule and subject, not by line, so that it survives edits above it. */
export function fingerprint({ id, subject }: Pick<Finding, 'id' | 'subject'>): string {
  return `${id} ${subject}`;
}

/** The text of a baseline file that accepts these findings, and no others. */
export function baselineText(findings: readonly Finding[]): string {
  const lines = [...new Set(findings.map(fingerprint))].toSorted();
  return `${JSON.stringify({ version: 1, findings: lines }, undefined, 2)}\n`;
}

/** The findings that a baseline accepts. Throws INPUT_INVALID if the file is no baseline. */
export function readBaseline(text: string, file: string): ReadonlySet<string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid(file, cause);
  }
  if (
    typeof value !== 'object' ||
    value === null ||
    !('version' in value) ||
    value.version !== 1 ||
    !('findings' in value) ||
    !Array.isArray(value.findings) ||
    value.findings.length > BASELINE_FINDINGS_MAX ||
    !value.findings.every((one) => typeof one === 'string')
  )
    throw invalid(file);
  return new Set(value.findings);
}

function invalid(file: string, cause?: unknown): TallyError {
  return new TallyError('INPUT_INVALID', {
    what: 'the file is no baseline of tally check',
    where: file,
    mend: 'write it with --write-baseline',
    ...(cause === undefined ? {} : { cause }),
  });
}
