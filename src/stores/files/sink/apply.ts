import { dirname } from 'node:path';
import { encodeKey } from '../../../core/codec.ts';
import { isTallyError, TallyError, type ErrorCode } from '../../../core/errors.ts';
import { packFence } from '../../../core/fence.ts';
import { compareIdentities } from '../../../core/position.ts';
import type { Write } from '../../../core/write.ts';
import { point } from '../../../observe/point.ts';
import type { FailedWrite, SinkReport } from '../../../ports/sink.ts';
import type { DraftContent } from '../objects/disk.ts';
import { keyBytes, pathOfKey, type KeyBytes } from '../objects/key-path.ts';
import type { Shelf } from '../objects/shelf.ts';
import { checkMetadata, type Trailer, type Version } from '../objects/trailer.ts';
import { objectKeyOf } from './object-key.ts';
import { rowContent } from './row-content.ts';

/** Writes under way at once: enough to share the disk's flushes, few enough to bound memory. */
const PARALLEL_WRITES = 16;
const NO_BYTES = new Uint8Array();

/** What is wrong with one write, and not with the store: only these park a write. */
const ofOneWrite: ReadonlySet<ErrorCode> = new Set([
  'ROW_TOO_LARGE',
  'VALUE_UNSUPPORTED',
  'POSITION_OUT_OF_RANGE',
  'WRITE_REFUSED',
]);

/** What applying needs of its session. */
export interface ApplyContext {
  readonly shelf: Shelf;
  readonly flow: string;
  /** Where the names of tombstones are kept. */
  readonly tombstones: string;
  readonly rowBytesMax: number;
}

type Outcome = 'applied' | 'older';

/**
 * Applies writes with distinct keys, several at once; what is reported as applied or older is
 * durable. Whatever concerns the store (a full or broken disk) is thrown, once all that was under
 * way has ended: no write of this batch may land after its caller has gone on.
 */
export async function applyWrites(
  context: ApplyContext,
  writes: readonly Write[],
): Promise<SinkReport> {
  const counts = { applied: 0, older: 0 };
  const failed: FailedWrite[] = [];
  const directories = new Set<string>();
  const troubles: unknown[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < writes.length && troubles.length === 0) {
      const index = next++;
      try {
        counts[await applyWrite(context, writes[index] as Write, directories)] += 1;
        if (index < writes.length - 1) point('sink.mid-apply');
      } catch (error) {
        if (isTallyError(error) && ofOneWrite.has(error.code)) failed.push({ index, error });
        else troubles.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL_WRITES, writes.length) }, work));
  if (troubles.length > 0) throw troubles[0];
  // The files are durable since before their renames; their names are once their directories are.
  // Also of writes that were older: another process may have renamed and not yet synced.
  await Promise.all([...directories].map((directory) => context.shelf.disk.sync(directory)));
  return { ...counts, failed: failed.toSorted((left, right) => left.index - right.index) };
}

async function applyWrite(
  context: ApplyContext,
  write: Write,
  directories: Set<string>,
): Promise<Outcome> {
  packFence(write);
  const { epoch, offset, ordinal, target, row } = write;
  const bytes = keyBytes(objectKeyOf(target, write.key));
  const key = encodeKey(write.key);
  const version: Version = { flow: context.flow, target, key, epoch, offset, ordinal };
  const content: DraftContent =
    row === null
      ? { body: NO_BYTES, metadata: {}, version: { ...version, deleted: true } }
      : { ...rowContent(row, context.rowBytesMax), version };
  checkMetadata(content.metadata);
  const accepts = (held: Trailer | undefined): boolean => {
    if (held?.version === undefined) return true;
    if (held.version.key !== key || held.version.target !== target)
      throw sharedKey(version, held.version);
    const order = compareIdentities(write, held.version);
    return write.mode === 'repair' ? order >= 0 : order > 0;
  };
  return placeVersion(context, { bytes, content, accepts, directories });
}

/** One write that is ready for its place. */
export interface Placing {
  readonly bytes: KeyBytes;
  readonly content: DraftContent;
  /** Whether it may take the place of what is there; asked under the key's lock. */
  readonly accepts: (held: Trailer | undefined) => boolean;
  /** Takes the directories to sync before the write may be called durable. */
  readonly directories: Set<string>;
}

/** Compares and writes under the key's lock, so that nothing newer can come in between. */
export async function placeVersion(context: ApplyContext, placing: Placing): Promise<Outcome> {
  const { shelf } = context;
  const { bytes, content, accepts, directories } = placing;
  const path = shelf.pathOf(bytes);
  return shelf.alone(bytes, async () => {
    const held = await shelf.readPath(path);
    const isAccepted = accepts(held);
    directories.add(dirname(path));
    // The name of a tombstone is noted before the tombstone is there, and again whenever it is met:
    // one without a note would never be pruned, a note too many is dropped by the next prune.
    const leaves = isAccepted ? content.version : held?.version;
    if (leaves?.deleted === true) {
      const note = pathOfKey(context.tombstones, bytes);
      await shelf.disk.note(note);
      directories.add(dirname(note));
    }
    if (!isAccepted) return 'older';
    const draft = await shelf.disk.draft(content);
    try {
      await shelf.disk.place(draft.path, path);
    } catch (error) {
      await shelf.disk.discard(draft.path);
      throw error;
    }
    return 'applied';
  });
}

function sharedKey(version: Version, held: Version): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what: `keys ${version.key} of ${version.target} and ${held.key} of ${held.target} would share one object`,
    where: `target ${version.target}`,
    mend: 'give all keys of a target one type, and no target the name of a part of another',
    details: { key: version.key, target: version.target, held: held.key, heldTarget: held.target },
  });
}
