import { digestOf } from '../../core/digest.ts';
import { isTallyError, TallyError } from '../../core/errors.ts';
import { checkOneOf, checkOptions, fieldPath, suggest } from '../../core/options.ts';
import type { Value } from '../../core/row.ts';
import { checkSchema, isStandardSchema } from '../../core/standard-schema.ts';
import { point } from '../../observe/point.ts';
import type { Random } from '../../ports/clock.ts';
import { addEvidence } from '../../runtime/context.ts';
import { systemRandom } from '../../runtime/random.ts';
import { Turns } from '../../runtime/turns.ts';
import type { Answers } from './answers.ts';
import type {
  Command,
  CommandAnswer,
  CommandContext,
  CommandDone,
  InputOf,
  ResultOf,
} from './command.ts';

/** Commands by name. */
export type Commands = Readonly<Record<string, Command>>;

/** What is said with a command when it is sent. */
export interface SendOptions<Actor> {
  readonly actor?: Actor;
  readonly key?: string;
  readonly correlationId?: string;
  readonly causationId?: string;
  readonly signal?: AbortSignal;
}

/** What passes through {@link CommandBusOptions.around}. */
export interface CommandCall<Actor> {
  readonly context: CommandContext<Actor>;
  /** As it was sent; after validation in {@link CommandBusOptions.aroundHandler}. */
  readonly input: unknown;
}

/** Goes on with a call. */
export type Next<Answer> = () => Promise<Answer>;

/** What a bus is made of. */
export interface CommandBusOptions<Actor, Declared extends Commands> {
  readonly commands: Declared;
  /** Whether this actor may send this command at all. Asked before the input is looked at. */
  readonly authorise?: (context: CommandContext<Actor>) => boolean | Promise<boolean>;
  /** The first of two seams: around everything, also what is refused. For tracing, measuring, limits on how many. */
  readonly around?: (
    call: CommandCall<Actor>,
    next: Next<CommandAnswer<unknown>>,
  ) => Promise<CommandAnswer<unknown>>;
  /** The second: around the handler alone, with input that is valid, allowed and not answered before. */
  readonly aroundHandler?: (
    call: CommandCall<Actor>,
    next: Next<CommandDone<unknown>>,
  ) => Promise<CommandDone<unknown>>;
  /** Keeps the answers of commands with keys: a repeated one is answered without its handler. */
  readonly answers?: Answers;
  /** Is told when an answer could not be kept or looked up. The command is carried out all the same. */
  readonly onAnswerError?: (error: unknown, context: CommandContext<Actor>) => void;
  readonly random?: Random;
}

/** Takes commands by name and carries them out. */
export interface CommandBus<Actor, Declared extends Commands> {
  readonly names: readonly (keyof Declared & string)[];
  /** Sends a command whose types are known. Throws as {@link CommandBus.dispatch}. */
  send<Name extends keyof Declared & string>(
    name: Name,
    input: InputOf<Declared[Name]>,
    options?: SendOptions<Actor>,
  ): Promise<CommandAnswer<ResultOf<Declared[Name]>>>;
  /**
   * Sends a command of which only the text is known, such as one from HTTP. In this order: the bus's own `authorise`, the
   * schema, the command's `authorise`, the key, the handler. Throws COMMAND_INVALID, COMMAND_FORBIDDEN,
   * COMMAND_KEY_REUSED, and what the handler throws; before the handler nothing has happened.
   */
  dispatch(
    name: string,
    input: unknown,
    options?: SendOptions<Actor>,
  ): Promise<CommandAnswer<unknown>>;
}

const optionNames = [
  'commands',
  'authorise',
  'around',
  'aroundHandler',
  'answers',
  'onAnswerError',
  'random',
] as const;
const commandNames = ['input', 'key', 'authorise', 'handle'] as const;
const sendNames = ['actor', 'key', 'correlationId', 'causationId', 'signal'] as const;

/** Characters of a key; a UUID has 36. */
const KEY_CHARACTERS_MAX = 200;

/**
 * Declares a command bus: one way in for everything that changes something. It has exactly two seams for code of your own,
 * `around` and `aroundHandler`, each one function; several concerns are several calls in it, in an order that can be read.
 *
 * With a key and `answers`, a command that was answered before is answered again without its handler. Between the end of a
 * handler and the keeping of its answer a process may die: then the handler is called again with the same key, and what it
 * writes with has to know the key (`aggregates.handle` does). Without `answers` that is so for every repetition.
 */
export function commandBus<Actor, const Declared extends Commands>(
  options: CommandBusOptions<Actor, Declared>,
): CommandBus<Actor, Declared> {
  checkOptions(options, optionNames, 'commandBus');
  for (const [name, command] of Object.entries(options.commands)) {
    const path = fieldPath('commandBus.commands', name);
    checkOptions(command, commandNames, path);
    checkOneOf(command.key ?? 'optional', fieldPath(path, 'key'), ['required', 'optional']);
    if (typeof command.handle !== 'function')
      throw invalid(fieldPath(path, 'handle'), 'is not a function', 'give what carries it out');
    if (command.input !== undefined && !isStandardSchema(command.input))
      throw invalid(
        fieldPath(path, 'input'),
        'is not a schema',
        'give one that speaks Standard Schema 1',
      );
  }
  const bus = new Bus(options);
  return {
    names: Object.keys(options.commands),
    send: (name, input, given) => bus.dispatch(name, input, given) as never,
    dispatch: (name, input, given) => bus.dispatch(name, input, given),
  };
}

class Bus<Actor, Declared extends Commands> {
  readonly #options: CommandBusOptions<Actor, Declared>;
  readonly #turns = new Turns();

  constructor(options: CommandBusOptions<Actor, Declared>) {
    this.#options = options;
  }

  async dispatch(
    name: string,
    input: unknown,
    given: SendOptions<Actor> = {},
  ): Promise<CommandAnswer<unknown>> {
    checkOptions(given, sendNames, 'send');
    const { around, random = systemRandom } = this.#options;
    const { actor, key, correlationId = random.id(), causationId, signal } = given;
    const context = { name, actor, key, correlationId, causationId, signal };
    const work = (): Promise<CommandAnswer<unknown>> => this.#carryOut(input, context);
    return around === undefined ? work() : around({ context, input }, work);
  }

  async #carryOut(given: unknown, context: CommandContext<Actor>): Promise<CommandAnswer<unknown>> {
    const command = this.#command(context.name);
    const { authorise } = this.#options;
    if (authorise !== undefined && !isYes(await authorise(context))) throw forbidden(context);
    const input = await inputOf(command, given, context);
    const allowed = await command.authorise?.(input, context);
    if (command.authorise !== undefined && !isYes(allowed)) throw forbidden(context);
    checkKey(command, context);
    const { answers } = this.#options;
    const { key } = context;
    if (key === undefined || answers === undefined) return this.#handled(command, input, context);
    // One at a time for each key: two that come together would both find no answer.
    // Compared as it was sent: what a schema makes of it may change from one version of the code to the next.
    const digest = digestOfCommand(context.name, given);
    const keyed = { ...context, key, digest };
    return this.#turns.take(key, () => this.#once(command, input, keyed, answers));
  }

  #command(name: string): Command {
    const { commands } = this.#options;
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (command !== undefined) return command;
    const near = suggest(name, Object.keys(commands));
    throw new TallyError('COMMAND_INVALID', {
      what: `there is no command ${JSON.stringify(name.slice(0, 80))}`,
      mend: near === undefined ? 'send one that is declared' : `did you mean ${near}?`,
      details: { command: name },
    });
  }

  async #once(
    command: Command,
    input: unknown,
    {
      digest,
      ...context
    }: CommandContext<Actor> & { readonly key: string; readonly digest: string },
    answers: Answers,
  ): Promise<CommandAnswer<unknown>> {
    const { key, correlationId } = context;
    const kept = await this.#ifPossible(() => answers.get(key), context);
    if (kept !== undefined) {
      if (kept.digest !== digest) throw reused(context);
      addEvidence(kept.evidence);
      return { value: kept.value, evidence: kept.evidence, repeated: true, correlationId };
    }
    const answer = await this.#handled(command, input, context);
    point('command.after-handling-before-kept');
    const { value, evidence } = answer;
    await this.#ifPossible(() => answers.keep(key, { digest, value, evidence }), context);
    return answer;
  }

  async #handled(
    command: Command,
    input: unknown,
    context: CommandContext<Actor>,
  ): Promise<CommandAnswer<unknown>> {
    const { aroundHandler } = this.#options;
    const work = async (): Promise<CommandDone<unknown>> => command.handle(input, context);
    const done =
      aroundHandler === undefined ? await work() : await aroundHandler({ context, input }, work);
    const { value, evidence, repeated = false } = done;
    return { value, evidence, repeated, correlationId: context.correlationId };
  }

  /** A command does not fail for the store of answers: with the same key it is found again by what wrote its events. */
  async #ifPossible<Result>(
    work: () => Promise<Result>,
    context: CommandContext<Actor>,
  ): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#options.onAnswerError?.(error, context);
      return undefined;
    }
  }
}

/** Only true is a yes: a hook that forgot to answer has not allowed anything. */
function isYes(answer: unknown): boolean {
  return answer === true;
}

async function inputOf(
  command: Command,
  given: unknown,
  { name }: CommandContext,
): Promise<unknown> {
  if (command.input === undefined) return given;
  return checkSchema(command.input, given, () => ({
    code: 'COMMAND_INVALID',
    what: `the command ${name}`,
    mend: 'send what its schema allows',
  }));
}

function checkKey({ key: wanted }: Command, { key, name }: CommandContext): void {
  if (key === undefined) {
    if (wanted !== 'required') return;
    throw new TallyError('COMMAND_INVALID', {
      what: `the command ${name} needs a key`,
      mend: 'send one with it, made once for each thing that is wanted: sent again, it does nothing twice',
    });
  }
  if (typeof key === 'string' && key.length > 0 && key.length <= KEY_CHARACTERS_MAX) return;
  throw new TallyError('COMMAND_INVALID', {
    what: `the key of the command ${name} cannot be one`,
    mend: `give a text of 1 to ${KEY_CHARACTERS_MAX} characters, such as a UUID`,
  });
}

function digestOfCommand(name: string, input: unknown): string {
  try {
    return digestOf([name, (input ?? null) as Value]);
  } catch (cause) {
    if (!isTallyError(cause)) throw cause;
    throw new TallyError('COMMAND_INVALID', {
      what: `the command ${name} has a key and is no plain value, so it cannot be compared with the one before`,
      mend: 'carry dates as text or numbers, and leave members out instead of giving undefined',
      cause,
    });
  }
}

function forbidden({ name }: CommandContext): TallyError {
  return new TallyError('COMMAND_FORBIDDEN', {
    what: `this actor may not send ${name}`,
    mend: 'look at the authorise hooks of the bus and of the command',
    details: { command: name },
  });
}

function reused({ name, key }: CommandContext): TallyError {
  return new TallyError('COMMAND_KEY_REUSED', {
    what: `the key of ${name} was used before, for a command with another content`,
    mend: 'make one key for each thing that is wanted; what was asked first stands',
    details: { command: name, key },
  });
}

function invalid(where: string, what: string, mend: string): TallyError {
  return new TallyError('CONFIG_INVALID', { what: `${where} ${what}`, where, mend });
}
