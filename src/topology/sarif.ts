import { fingerprint } from './baseline.ts';
import type { Finding, RuleText } from './finding.ts';

/** SARIF 2.1.0, as code hosts and editors read it: https://docs.oasis-open.org/sarif/sarif/v2.1.0/ */
export function sarif(
  findings: readonly Finding[],
  version: string,
): Readonly<Record<string, unknown>> {
  const rules = new Map<string, RuleText>(findings.map((finding) => [finding.id, finding]));
  const ids = [...rules.keys()];
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'tally check',
            semanticVersion: version,
            rules: [...rules.values()].map(({ id, about, remedy, cost }) => ({
              id,
              shortDescription: { text: about },
              help: { text: `Remedy: ${remedy}. Ignored, it costs: ${cost}.` },
            })),
          },
        },
        results: findings.map((finding) => ({
          ruleId: finding.id,
          ruleIndex: ids.indexOf(finding.id),
          level: finding.severity,
          message: { text: `${finding.why}. ${finding.remedy}.` },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: finding.file },
                region: { startLine: finding.at.line, startColumn: finding.at.column },
              },
              logicalLocations: [{ fullyQualifiedName: finding.subject }],
            },
          ],
          partialFingerprints: { 'tally/v1': fingerprint(finding) },
        })),
      },
    ],
  };
}
