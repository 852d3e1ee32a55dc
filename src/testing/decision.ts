import assert from 'node:assert/strict';
import { decodeValue, encodeValue } from '../core/codec.ts';
import { isTallyError, TallyError } from '../core/errors.ts';
import type { Value } from '../core/row.ts';
import { checkSchema } from '../core/standard-schema.ts';
import type { Decider } from '../patterns/events/decider.ts';
import type { DeciderTypes } from '../patterns/events/event.ts';
import { evolved } from '../patterns/events/replay.ts';

/** A story about a decider: what had happened, what was asked for, and what happens then. */
export interface DecisionStory<Types extends DeciderTypes> {
  /** Events that have happened. */
  given(...events: readonly Types['event'][]): DecisionStory<Types>;
  /** A command. Call it again for the next one, which is decided on what the one before brought about. */
  when(command: Types['command']): DecisionStory<Types>;
  /** Resolves if the last command decides exactly these events; rejects with node's AssertionError and its difference otherwise. */
  thenDecides(...events: readonly Types['event'][]): Promise<void>;
  /** Resolves if the last command is refused, for this reason. */
  thenRefuses(reason: string): Promise<void>;
  /** Resolves if the state is this one after all that was told. */
  thenIs(state: Types['state']): Promise<void>;
  /** What the story comes to, for assertions of your own. */
  run(): Promise<Decided<Types>>;
}

/** What a story about a decider comes to. */
export interface Decided<Types extends DeciderTypes> {
  readonly state: Types['state'];
  /** Of the last command. */
  readonly events: readonly Types['event'][];
  /** The error that the last command was refused with. */
  readonly refused: TallyError | undefined;
}

/**
 * Tells a story about a decider, with the checks that it runs under in production: commands and events against their
 * schemas, events as values that a store can carry. `decide` and `evolve` are asked twice and must answer the same: they
 * may not look at a clock or at randomness, nor change what they are given. Works in any test runner.
 *
 * What it does not do: it knows nothing of stores, of concurrency or of older events; see the golden files for those.
 *
 * @example
 * await decision(account)
 *   .given({ type: 'opened', data: { owner: 'Ada' } })
 *   .when({ kind: 'withdraw', cents: 500 })
 *   .thenRefuses('insufficient-funds');
 */
export function decision<Types extends DeciderTypes>(
  decider: Decider<Types>,
): DecisionStory<Types> {
  return new Story(decider, [], []);
}

class Story<Types extends DeciderTypes> implements DecisionStory<Types> {
  readonly #decider: Decider<Types>;
  readonly #given: readonly Types['event'][];
  readonly #commands: readonly Types['command'][];

  constructor(
    decider: Decider<Types>,
    given: readonly Types['event'][],
    commands: readonly Types['command'][],
  ) {
    this.#decider = decider;
    this.#given = given;
    this.#commands = commands;
  }

  given(...events: readonly Types['event'][]): DecisionStory<Types> {
    return new Story(this.#decider, [...this.#given, ...events], this.#commands);
  }

  when(command: Types['command']): DecisionStory<Types> {
    return new Story(this.#decider, this.#given, [...this.#commands, command]);
  }

  async thenDecides(...events: readonly Types['event'][]): Promise<void> {
    const outcome = await this.#ofCommand();
    if (outcome.refused !== undefined) throw outcome.refused;
    assert.deepEqual(outcome.events, events.map(carried));
  }

  async thenRefuses(reason: string): Promise<void> {
    const { refused, events } = await this.#ofCommand();
    const found = refused === undefined ? { decided: events } : refused.details['reason'];
    assert.deepEqual(
      found,
      reason,
      refused === undefined ? 'the command was not refused' : undefined,
    );
  }

  async thenIs(state: Types['state']): Promise<void> {
    const outcome = await this.run();
    if (outcome.refused !== undefined) throw outcome.refused;
    assert.deepEqual(outcome.state, state);
  }

  async run(): Promise<Decided<Types>> {
    let state: Types['state'] = this.#decider.initial;
    let version = 0;
    const apply = async (event: Types['event']): Promise<Types['event']> => {
      await this.#decider.types.check(event, 'the story');
      const stored = carried(event);
      const before = state;
      version += 1;
      const at = { stream: 'the story', version };
      state = evolved(this.#decider, before, stored, at);
      const again = evolved(this.#decider, before, stored, at);
      assert.deepEqual(
        again,
        state,
        `evolve was asked twice about ${event.type} and answered differently`,
      );
      return stored;
    };
    for (const event of this.#given) await apply(event);
    let events: readonly Types['event'][] = [];
    for (const [index, command] of this.#commands.entries()) {
      try {
        events = await this.#decide(command, state);
      } catch (error) {
        if (!isTallyError(error, 'COMMAND_REFUSED') || index < this.#commands.length - 1)
          throw error;
        return { state, events: [], refused: error };
      }
      const decided: Types['event'][] = [];
      for (const event of events) decided.push(await apply(event));
      events = decided;
    }
    return { state, events, refused: undefined };
  }

  async #decide(
    given: Types['command'],
    state: Types['state'],
  ): Promise<readonly Types['event'][]> {
    const { command: schema } = this.#decider;
    const command =
      schema === undefined
        ? given
        : await checkSchema(schema, given, () => ({
            code: 'COMMAND_INVALID',
            what: 'the command',
            mend: 'send what the schema allows',
          }));
    const events = this.#decider.decide(command, state);
    const again = this.#decider.decide(command, state);
    assert.deepEqual(again, events, 'decide was asked twice and answered differently');
    return events;
  }

  async #ofCommand(): Promise<Decided<Types>> {
    if (this.#commands.length === 0)
      throw new TallyError('CONFIG_INVALID', {
        what: 'the story has no command',
        mend: 'say when(…) before thenDecides or thenRefuses, or use thenIs',
      });
    return this.run();
  }
}

/** As a store hands it back. Throws VALUE_UNSUPPORTED for what cannot be stored. */
function carried<Event extends DeciderTypes['event']>(event: Event): Event {
  return { type: event.type, data: decodeValue(encodeValue(event.data as Value)) } as Event;
}
