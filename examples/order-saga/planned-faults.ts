import type { FaultKind, Faults } from './faults.ts';

/** What is to go wrong with a step, in its first `attempts` attempts. */
export interface PlannedFault {
  readonly step: string;
  readonly during: 'do' | 'undo';
  readonly kind: FaultKind;
  readonly attempts: number;
}

/** Exactly these faults, for tests. */
export function plannedFaults(plan: readonly PlannedFault[]): Faults {
  return ({ step, during, attempt }) =>
    plan.find(
      (fault) => fault.step === step && fault.during === during && attempt <= fault.attempts,
    )?.kind;
}
