import type { TallyApp } from '../app/definition.ts';
import type { Clock } from '../ports/clock.ts';
import type { Exported } from './load.ts';

/** Where a command reads and writes; tests give their own. */
export interface Terminal {
  /** Standard output: the answer, nothing else. */
  readonly out: (text: string) => void;
  /** Standard error: what happens meanwhile. */
  readonly say: (text: string) => void;
  /** Whether the output is a screen that can be drawn over. */
  readonly screen: boolean;
  readonly clock: Clock;
  /** Puts a question and resolves to the line that was typed; undefined at the end of input. Absent where nobody types. */
  readonly ask?: (question: string) => Promise<string | undefined>;
  /** Aborts when the user wants to stop. */
  readonly signal: AbortSignal;
}

/** What a command is called with. */
export interface Call {
  /** Loads the application named on the command line. Throws CONFIG_INVALID. */
  readonly app: () => Promise<TallyApp>;
  /** The file named on the command line; undefined where a command may go without one. */
  readonly file: string | undefined;
  /** The same with everything else that the file exports. */
  readonly module: () => Promise<{ readonly app: TallyApp; readonly exported: Exported }>;
  /** The arguments after the file. */
  readonly rest: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  readonly json: boolean;
}

/** One line of `tally --help`, and what runs behind it. */
export interface Command {
  readonly usage: string;
  readonly about: string;
  /** Options beside --json and --help, by name: what they take (undefined: nothing), and what they do. */
  readonly options: Readonly<Record<string, { readonly takes?: string; readonly about: string }>>;
  /** Whether a file comes first; `needed`, the application, if this is not given. */
  readonly file?: 'optional';
  /** How many arguments may follow the file. */
  readonly rest: { readonly min: number; readonly max: number };
  /** Returns the exit code. */
  readonly run: (call: Call, terminal: Terminal) => Promise<number>;
}
