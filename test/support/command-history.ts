import { isDeepStrictEqual } from 'node:util';
import { isTallyError } from 'tallystick';
import { isRefusal, type Aggregates, type Decider, type Handled } from 'tallystick/events';
import type { EventStore, StoredEvent } from '../../src/ports/events.ts';
import type { AccountTypes } from './account.ts';

type Command = AccountTypes['command'];

/** One command that a client sent until it was answered, and what it saw of time. */
export interface Sent {
  readonly key: string | undefined;
  readonly command: Command;
  /** The version of the stream before it was sent, and after it was answered. */
  readonly before: number;
  readonly after: number;
  readonly answer:
    | { readonly kind: 'handled'; readonly handled: Handled<AccountTypes> }
    | { readonly kind: 'refused'; readonly reason: string };
}

/** Sends a command as a client does: again, by the same key, for as long as nothing certain comes back. */
export async function sendUntilAnswered(
  accounts: Aggregates<AccountTypes>,
  events: EventStore,
  id: string,
  { command, key }: { readonly command: Command; readonly key: string | undefined },
): Promise<Sent> {
  const stream = accounts.streamOf(id);
  const before = await events.version(stream);
  for (;;) {
    try {
      const handled = await accounts.handle(id, command, key === undefined ? {} : { key });
      return {
        key,
        command,
        before,
        after: await events.version(stream),
        answer: { kind: 'handled', handled },
      };
    } catch (error) {
      if (isRefusal(error)) {
        const reason = String(error.details['reason']);
        return {
          key,
          command,
          before,
          after: await events.version(stream),
          answer: { kind: 'refused', reason },
        };
      }
      // Without a key nobody can know whether it was done: such a client has to leave it, and look.
      if (key === undefined || !isTallyError(error) || !error.retryable) throw error;
    }
  }
}

/**
 * What is wrong with a history of one stream, as a list: nothing, if there is one order of the commands, which agrees with
 * the time that their clients saw, in which a single-threaded decider would have answered each of them as it was.
 *
 * The stream is that order: each command that wrote stands where its events stand. One that wrote nothing (a refusal, a
 * decision to do nothing) must be right at some version that was there while it was under way.
 */
export async function wrongInHistory(
  decider: Decider<AccountTypes>,
  events: EventStore,
  stream: string,
  sent: readonly Sent[],
): Promise<readonly string[]> {
  const stored: StoredEvent[] = [];
  for await (const page of events.readStream(stream)) stored.push(...page);
  const states: AccountTypes['state'][] = [decider.initial];
  for (const event of stored)
    states.push(
      decider.evolve(states.at(-1)!, (await decider.types.read(event)) as AccountTypes['event']),
    );
  const wrong: string[] = [];
  const claimed = new Map<number, string>();
  const byKey = new Map<string, Handled<AccountTypes>>();
  for (const [index, { key, command, before, after, answer }] of sent.entries()) {
    const name = `${index} ${command.kind} ${key ?? 'without a key'}`;
    if (answer.kind === 'refused' || answer.handled.events.length === 0) {
      const right = states
        .slice(before, after + 1)
        .some((state) =>
          isDeepStrictEqual(
            decided(decider, command, state),
            answer.kind === 'refused' ? answer.reason : [],
          ),
        );
      if (!right)
        wrong.push(
          `${name}: no state between ${before} and ${after} answers ${JSON.stringify(answer)}`,
        );
      continue;
    }
    const { handled } = answer;
    const first = handled.version - handled.events.length;
    const own = stored.slice(first, handled.version).map(({ type, data }) => ({ type, data }));
    if (!isDeepStrictEqual(own, handled.events))
      wrong.push(`${name}: its events are not at ${handled.version}`);
    if (!isDeepStrictEqual(decided(decider, command, states[first]!), handled.events))
      wrong.push(`${name}: would not be decided so on version ${first}`);
    if (!isDeepStrictEqual(states[handled.version], handled.state))
      wrong.push(`${name}: its state is not that of ${handled.version}`);
    if (handled.version > after)
      wrong.push(`${name}: stands at ${handled.version} and was answered at ${after}`);
    if (!handled.repeated && first < before)
      wrong.push(`${name}: stands at ${first}, before it was sent at ${before}`);
    const known = key === undefined ? undefined : byKey.get(key);
    if (
      known !== undefined &&
      !isDeepStrictEqual({ ...known, repeated: true }, { ...handled, repeated: true })
    )
      wrong.push(`${name}: the same key was answered differently`);
    if (key !== undefined) byKey.set(key, handled);
    for (let version = first; version < handled.version; version++) {
      const owner = key ?? name;
      const other = claimed.get(version);
      if (other !== undefined && other !== owner)
        wrong.push(`${name}: event ${version + 1} is also of ${other}`);
      claimed.set(version, owner);
    }
  }
  if (claimed.size !== stored.length)
    wrong.push(`${stored.length} events are stored, and ${claimed.size} were answered for`);
  return wrong;
}

function decided(
  decider: Decider<AccountTypes>,
  command: Command,
  state: AccountTypes['state'],
): unknown {
  try {
    return decider.decide(command, state);
  } catch (error) {
    return isRefusal(error) ? error.details['reason'] : String(error);
  }
}
