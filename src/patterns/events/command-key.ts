import { digestOf, digestOfText } from '../../core/digest.ts';
import { TallyError } from '../../core/errors.ts';
import type { Row, Value } from '../../core/row.ts';
import type { StoredEvent } from '../../ports/events.ts';

/** Characters of an idempotency key; a UUID has 36. */
const COMMAND_KEY_CHARACTERS_MAX = 200;

/** What is kept with the events of a command, in their metadata, under {@link COMMAND_MARK}. */
export interface CommandMark {
  /** How many events it decided: where its part of the stream ends. */
  readonly events: number;
  /** With a key: the key as it was given, and what was asked. */
  readonly key?: string;
  readonly digest?: string;
}

/** The member of an event's metadata that says which command it is of. */
export const COMMAND_MARK = 'command';

/**
 * The name of a command, which its events' ids are made of. From a key it is the same in every process and at every
 * attempt: so the store itself refuses the events of a command that was carried out already, and nothing is kept in
 * memory that a crash could lose.
 */
export function commandId(stream: string, key: string): string {
  if (key.length === 0 || key.length > COMMAND_KEY_CHARACTERS_MAX)
    throw new TallyError('COMMAND_INVALID', {
      what: `a key of ${key.length} characters cannot be one`,
      where: stream,
      mend: `give a text of 1 to ${COMMAND_KEY_CHARACTERS_MAX} characters, such as a UUID that the sender made`,
    });
  return `command-${digestOfText(`${stream}\0${key}`)}`;
}

/** The id of the event at a place among those of one command. */
export function eventId(command: string, index: number): string {
  return `${command}/${index}`;
}

/** Tells commands apart that came under one key. The order of members does not count. */
export function commandDigest(command: unknown, stream: string): string {
  try {
    return digestOf(command as Value);
  } catch (cause) {
    throw new TallyError('COMMAND_INVALID', {
      what: 'a command with a key is to be a plain value, so that it can be compared with the one before',
      where: stream,
      mend: 'carry dates as text or numbers, and leave members out instead of giving undefined',
      cause,
    });
  }
}

/** What is kept of the command that an event is of; undefined if it was not appended for one. */
export function markOf({ metadata }: Pick<StoredEvent, 'metadata'>): CommandMark | undefined {
  const mark = metadata[COMMAND_MARK];
  if (typeof mark !== 'object' || mark === null || Array.isArray(mark)) return undefined;
  return typeof (mark as Row)['events'] === 'number' ? (mark as unknown as CommandMark) : undefined;
}

/** Throws COMMAND_KEY_REUSED if the command that a key was used for asked for something else. */
export function checkSameCommand(
  mark: CommandMark | undefined,
  digest: string | undefined,
  stream: string,
): void {
  if (digest === undefined || mark?.digest === digest) return;
  throw new TallyError('COMMAND_KEY_REUSED', {
    what: 'the key was used before, for a command with another content',
    where: stream,
    mend: 'make one key for each thing that is wanted; what was asked first stands',
    details: { stream, ...(mark?.key === undefined ? {} : { key: mark.key }) },
  });
}
