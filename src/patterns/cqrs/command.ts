import type { Evidence } from '../../core/evidence.ts';
import type { StandardSchema } from '../../core/standard-schema.ts';

/** What is known of a command beside its input. */
export interface CommandContext<Actor = unknown> {
  /** The name it was sent under. */
  readonly name: string;
  /** Who sends it, as the application knows them. */
  readonly actor: Actor | undefined;
  /** Makes it idempotent; for `handle` to pass on to what it calls. */
  readonly key: string | undefined;
  /** The conversation that it belongs to; made if the sender gave none. */
  readonly correlationId: string;
  readonly causationId: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What a handler hands back: what `app.write` and `aggregates.handle` leave behind fits. */
export interface CommandDone<Result> {
  readonly value: Result;
  readonly evidence: Evidence;
  /** Whether an earlier call with the same key had done it. */
  readonly repeated?: boolean;
}

/** What a sender is answered. */
export interface CommandAnswer<Result> {
  readonly value: Result;
  /** What a read has to be after, to show what the command did. */
  readonly evidence: Evidence;
  /** Whether an earlier command with the same key had done it. */
  readonly repeated: boolean;
  readonly correlationId: string;
}

/** One kind of command. */
export interface Command<Input = unknown, Result = unknown> {
  /** What the input must fit. What the schema hands back is what the handler gets. */
  readonly input?: StandardSchema<Input>;
  /** Whether a key must be sent with it. Default `optional`. */
  readonly key?: 'required' | 'optional';
  /** Whether this actor may send this input. Asked after the bus's own hook; anything but true is COMMAND_FORBIDDEN. */
  authorise?(input: Input, context: CommandContext): boolean | Promise<boolean>;
  /** Carries it out. With a key it may be called again, after a crash: it passes `context.key` on to what it writes with. */
  handle(input: Input, context: CommandContext): CommandDone<Result> | Promise<CommandDone<Result>>;
}

/** Declares a command, so that the types of its input and its result are known to the bus. */
export function command<Input, Result>(options: Command<Input, Result>): Command<Input, Result> {
  return options;
}

/** The input that a command takes. */
export type InputOf<Declared> =
  Declared extends Command<infer Input, infer _Result> ? Input : never;
/** What a command answers. */
export type ResultOf<Declared> =
  Declared extends Command<infer _Input, infer Result> ? Result : never;
