/**
 * A store that breaks one promise of its port, and the case of the conformance suite that finds it.
 * They test the suites: a suite that a liar passes protects nobody.
 */
export interface Liar<Port> {
  /** The lie, in a sentence that starts with its verb. */
  readonly lie: string;
  /** How the name of the case starts that must fail. */
  readonly caughtBy: string;
  /** The liar around an honest port. */
  readonly wrap: (honest: Port) => Port;
}
