import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { decodeValue, encodeValue } from '../../core/codec.ts';
import { isTallyError, TallyError } from '../../core/errors.ts';
import { checkOptions } from '../../core/options.ts';
import type { Row, Value } from '../../core/row.ts';
import type {
  EventPage,
  EventStore,
  NewEvent,
  StoredEvent,
  StreamAppend,
} from '../../ports/events.ts';
import type { KeyValue } from '../../ports/key-value.ts';

/** What of an event's data is about a person. */
export interface SealedMembers {
  /** The member of the data that says whom it is about; it stays readable, so it is an id and not a name. */
  readonly subject: string;
  /** The members that are sealed. */
  readonly members: readonly string[];
}

/** What is sealed, and where the keys are. */
export interface SealOptions {
  /** Keeps one key for each subject. Another store than that of the events: whoever has both can read. */
  readonly keys: KeyValue;
  /** By type of event, former names included. Other types are left as they are. */
  readonly sealed: Readonly<Record<string, SealedMembers>>;
}

/** Events with members that can be made unreadable. */
export interface SealedEvents<Tx> {
  /** The same event store: what goes in is sealed, what comes out is opened, or {@link Forgotten}. */
  readonly events: EventStore<Tx>;
  /**
   * Destroys the key of a subject for good: its events stay, with their order and versions, and what was sealed in them
   * is {@link Forgotten} from the next page on that is read. Idempotent. Copies are not reached: snapshots, read models,
   * backups of the keys.
   */
  readonly forget: (subject: string) => Promise<void>;
}

/** What stands where something was that has been forgotten. */
export interface Forgotten {
  readonly forgotten: true;
}

const FORGOTTEN: Forgotten & Row = Object.freeze({ forgotten: true });
/** The one member of what is stored in place of a sealed value. */
const SEAL = '$sealed';
const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Whether a value is the tombstone of something that was forgotten. */
export function isForgotten(value: unknown): value is Forgotten {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.keys(value).length === 1 &&
    'forgotten' in value &&
    value.forgotten === true
  );
}

/**
 * An event store whose events can forget (crypto-shredding): members of their data are encrypted (AES-256-GCM) with a key
 * that belongs to whom they are about. An append that is repeated is the same again: the nonce is made of the key, the
 * event's id and the text, as in RFC 5297. Flows read the store itself, and so see what is sealed, never what is in it.
 * Append throws EVENT_INVALID for a subject that was forgotten or is missing; reading throws STORE_CORRUPT for what is
 * sealed with another key.
 */
export function sealedEvents<Tx>(events: EventStore<Tx>, options: SealOptions): SealedEvents<Tx> {
  checkOptions(options, ['keys', 'sealed'], 'sealedEvents');
  const { keys, sealed } = options;
  const seals = new Seals(keys, new Map(Object.entries(sealed)));
  const closed = async (appends: readonly StreamAppend[]): Promise<readonly StreamAppend[]> => {
    const done: StreamAppend[] = [];
    for (const append of appends)
      done.push({ ...append, events: await seals.close(append.events) });
    return done;
  };
  async function* pages(
    found: AsyncIterable<EventPage>,
  ): AsyncGenerator<EventPage, void, undefined> {
    for await (const page of found) yield { ...page, events: await seals.open(page.events) };
  }
  return {
    events: {
      supports: events.supports,
      append: async (stream, some, expected) =>
        events.append(stream, await seals.close(some), expected),
      appendMany: async (appends) => events.appendMany(await closed(appends)),
      appendIn: async (tx, appends) => events.appendIn(tx, await closed(appends)),
      async *readStream(stream, range) {
        for await (const page of events.readStream(stream, range)) yield await seals.open(page);
      },
      readAll: (range) => pages(events.readAll(range)),
      follow: (range) => pages(events.follow(range)),
      find: async (id) => {
        const found = await events.find(id);
        return found === undefined ? undefined : (await seals.open([found]))[0];
      },
      version: (stream) => events.version(stream),
      head: () => events.head(),
      streams: (range) => events.streams(range),
    },
    forget: (subject) => seals.forget(subject),
  };
}

class Seals {
  readonly #keys: KeyValue;
  readonly #sealed: ReadonlyMap<string, SealedMembers>;

  constructor(keys: KeyValue, sealed: ReadonlyMap<string, SealedMembers>) {
    this.#keys = keys;
    this.#sealed = sealed;
  }

  async close(events: readonly NewEvent[]): Promise<readonly NewEvent[]> {
    const done: NewEvent[] = [];
    for (const event of events) {
      const about = this.#sealed.get(event.type);
      const data = about === undefined ? undefined : rowOf(event.data);
      if (about === undefined || data === undefined) {
        done.push(event);
        continue;
      }
      const subject = subjectOf(data, about, event.type);
      const key = await this.#keyOf(subject, event.type);
      const closed: Record<string, Value> = { ...data };
      for (const member of about.members) {
        const value = data[member];
        if (value !== undefined)
          closed[member] = { [SEAL]: seal(key, value, `${subject}/${member}`, event.id ?? '') };
      }
      done.push({ ...event, data: closed });
    }
    return done;
  }

  /** Keys are asked for with each page and not kept: what was forgotten is not read from memory. */
  async open(events: readonly StoredEvent[]): Promise<readonly StoredEvent[]> {
    const subjects = new Set<string>();
    for (const { type, data } of events) {
      const about = this.#sealed.get(type);
      const subject = about === undefined ? undefined : rowOf(data)?.[about.subject];
      if (typeof subject === 'string') subjects.add(subject);
    }
    if (subjects.size === 0) return events;
    const names = [...subjects];
    const entries = await this.#keys.getMany(names.map(nameOf));
    const keys = new Map(names.map((name, index) => [name, keyIn(entries[index]?.value)]));
    return events.map((event) => this.#opened(event, keys));
  }

  /** The entry stays, without a key: else the next event about the subject would make a new one. */
  async forget(subject: string): Promise<void> {
    await this.#keys.set(nameOf(subject), FORGOTTEN);
  }

  #opened(event: StoredEvent, keys: ReadonlyMap<string, Buffer | undefined>): StoredEvent {
    const about = this.#sealed.get(event.type);
    const data = rowOf(event.data);
    const subject = about === undefined ? undefined : data?.[about.subject];
    if (about === undefined || data === undefined || typeof subject !== 'string') return event;
    const opened: Record<string, Value> = { ...data };
    for (const member of about.members) {
      const text = rowOf(data[member])?.[SEAL];
      // What was written before there were seals is as it was.
      if (typeof text !== 'string') continue;
      const key = keys.get(subject);
      opened[member] =
        key === undefined ? FORGOTTEN : unseal(key, text, `${subject}/${member}`, event);
    }
    return { ...event, data: opened };
  }

  async #keyOf(subject: string, type: string): Promise<Buffer> {
    const name = nameOf(subject);
    let entry = await this.#keys.get(name);
    if (entry === undefined) {
      // Of two processes that make one, the second takes that of the first. Not drawn from Random: that can be foretold.
      const made = randomBytes(KEY_BYTES).toString('base64');
      try {
        await this.#keys.set(name, made, { ifVersion: 0 });
        return Buffer.from(made, 'base64');
      } catch (error) {
        if (!isTallyError(error, 'CONDITION_FAILED')) throw error;
        entry = await this.#keys.get(name);
      }
    }
    const key = keyIn(entry?.value);
    if (key !== undefined) return key;
    throw new TallyError('EVENT_INVALID', {
      what: `the subject of a new ${type} was forgotten`,
      where: subject,
      mend: 'append nothing more about it; a person who comes back is a new subject',
      details: { subject, type },
    });
  }
}

function seal(key: Buffer, value: Value, place: string, id: string): string {
  const text = encodeValue(value);
  const iv = derived(key, `nonce ${place} ${id} ${text}`).subarray(0, IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', derived(key, 'cipher'), iv).setAAD(
    Buffer.from(place),
  );
  const closed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), closed]).toString('base64');
}

function unseal(
  key: Buffer,
  sealed: string,
  place: string,
  { stream, version }: StoredEvent,
): Value {
  const bytes = Buffer.from(sealed, 'base64');
  const iv = bytes.subarray(0, IV_BYTES);
  try {
    const cipher = createDecipheriv('aes-256-gcm', derived(key, 'cipher'), iv)
      .setAAD(Buffer.from(place))
      .setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
    const text = Buffer.concat([
      cipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)),
      cipher.final(),
    ]);
    return decodeValue(text.toString('utf8'));
  } catch (cause) {
    throw new TallyError('STORE_CORRUPT', {
      what: `${place} of event ${version} is not sealed with the key that is kept`,
      where: stream,
      mend: 'restore the keys that belong to these events',
      details: { stream, version },
      cause,
    });
  }
}

function derived(key: Buffer, purpose: string): Buffer {
  return createHmac('sha256', key).update(purpose).digest();
}

function nameOf(subject: string): string {
  return `subject/${subject}`;
}

function keyIn(value: Value | undefined): Buffer | undefined {
  return typeof value === 'string' ? Buffer.from(value, 'base64') : undefined;
}

function rowOf(value: Value | undefined): Row | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Row)
    : undefined;
}

function subjectOf(data: Row, { subject: member }: SealedMembers, type: string): string {
  const subject = data[member];
  if (typeof subject === 'string' && subject !== '') return subject;
  throw new TallyError('EVENT_INVALID', {
    what: `a new ${type} does not say in ${member} whom it is about`,
    mend: `give ${member} the id of the person whose key seals it`,
    details: { type, member },
  });
}
