export { lint, type LintResult } from './lint.ts';
export { readTopology, type Topology, type TopologyReading } from './topology.ts';
export { topologyOfApp, type DeclaredApp } from './from-app.ts';
export { topologyShape } from './shapes.ts';
export { jsonSchema, type ObjectShape, type Shape } from './shape.ts';
export type { Finding, RuleContext, RuleText, Severity } from './finding.ts';
export type { Place, Problem } from './document.ts';
export { sarif } from './sarif.ts';
export { baselineText, fingerprint, readBaseline } from './baseline.ts';
