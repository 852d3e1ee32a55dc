import { open, readdir, rename, rm, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Identity } from '../../../core/position.ts';
import type { LogRecord } from '../../../ports/log.ts';
import { fencedOut, systemCode } from './failures.ts';
import { encodeFrame, frameKinds } from './frame.ts';

/*
 * The directory: `<first log offset>-<epoch>-<turn>.seg` for segments, `<epoch>-<turn>.claim` for
 * appenders. The turn tells apart appenders that were opened one after the other under one epoch.
 */
const SEGMENT_NAME = /^(\d{20})-(\d{5,})-(\d{4,})\.seg(\.new)?$/;
const CLAIM_NAME = /^(\d{5,})-(\d{4,})\.claim$/;

/** Which appender: a newer one has a greater epoch, or the same epoch and a later turn. */
export interface Rank {
  readonly epoch: number;
  readonly turn: number;
}

export interface SegmentName extends Rank {
  readonly first: number;
  readonly path: string;
}

/** A part of the log that is read, with how far it may be. */
export interface Segment extends SegmentName {
  /** The log offset after its last readable record. */
  next: number;
  /** Bytes of the file that may be read. */
  bytes: number;
}

/** What the log ended with where a segment starts. */
export interface SegmentHead {
  readonly last: Identity | undefined;
  readonly commit: LogRecord | undefined;
  readonly commitAt: number | undefined;
}

export interface Listing {
  readonly live: readonly SegmentName[];
  /** Segments that nothing reads, and files that were never finished. */
  readonly dead: readonly SegmentName[];
  readonly claims: readonly (Rank & { readonly path: string })[];
}

export function compareRanks(left: Rank, right: Rank): number {
  return left.epoch - right.epoch || left.turn - right.turn;
}

/** What is in the directory, and which segments are readable. */
export async function list(dir: string): Promise<Listing> {
  const segments: SegmentName[] = [];
  const claims: (Rank & { readonly path: string })[] = [];
  const dead: SegmentName[] = [];
  for (const name of await readdir(dir)) {
    const path = join(dir, name);
    const segment = SEGMENT_NAME.exec(name);
    const claimed = CLAIM_NAME.exec(name);
    if (segment !== null) {
      const [, first, epoch, turn, unfinished] = segment;
      const found = { first: Number(first), epoch: Number(epoch), turn: Number(turn), path };
      (unfinished === undefined ? segments : dead).push(found);
    } else if (claimed !== null) {
      claims.push({ epoch: Number(claimed[1]), turn: Number(claimed[2]), path });
    }
  }
  const live = liveSegments(segments);
  const kept = new Set(live);
  for (const segment of segments) if (!kept.has(segment)) dead.push(segment);
  return { live, dead, claims };
}

/**
 * The segments that are read, in order. A segment ends where the next newer appender's begins: of
 * two that begin at one offset the newer counts, and one that begins after a newer appender's is
 * the work of an appender that did not yet know that it was fenced.
 */
export function liveSegments(segments: readonly SegmentName[]): SegmentName[] {
  const live: SegmentName[] = [];
  for (const segment of segments.toSorted((a, b) => a.first - b.first || compareRanks(a, b))) {
    const before = live.at(-1);
    if (before !== undefined && compareRanks(before, segment) > 0) continue;
    if (before?.first === segment.first) live.pop();
    live.push(segment);
  }
  return live;
}

/**
 * Publishes an appender's claim and withdraws every older one. Returns its rank and the path by
 * whose existence it knows that it is still the newest. Throws FENCED_OUT if a newer one exists.
 *
 * Two that claim at once: each creates its file, then lists. Whichever lists second sees both, so
 * the older is withdrawn either by itself or by the newer; never do both believe to be the newest.
 */
export async function claim(
  dir: string,
  epoch: number,
): Promise<{ readonly rank: Rank; readonly path: string }> {
  for (;;) {
    const before = await list(dir);
    const ranks = [...before.claims, ...before.live];
    const holder = Math.max(-1, ...ranks.map((rank) => rank.epoch));
    if (holder > epoch) throw fencedOut(dir, epoch, holder);
    const turns = ranks.filter((rank) => rank.epoch === epoch).map(({ turn }) => turn);
    const rank = { epoch, turn: Math.max(-1, ...turns) + 1 };
    const path = join(dir, `${digits(epoch, 5)}-${digits(rank.turn, 4)}.claim`);
    try {
      await (await open(path, 'wx')).close();
    } catch (error) {
      // Somebody took this turn in between; every round is another appender's success.
      if (systemCode(error) === 'EEXIST') continue;
      throw error;
    }
    const { claims } = await list(dir);
    if (claims.some((other) => compareRanks(other, rank) > 0)) {
      await rm(path, { force: true });
      throw fencedOut(dir, epoch);
    }
    for (const other of claims)
      if (compareRanks(other, rank) < 0) await rm(other.path, { force: true });
    return { rank, path };
  }
}

/**
 * Creates a segment that holds only its head, durable with its name. It is written under another
 * name first: a segment whose head is damaged is then always damage, never a crash.
 */
export async function createSegment(
  dir: string,
  first: number,
  rank: Rank,
  head: SegmentHead,
): Promise<{ readonly segment: Segment; readonly handle: FileHandle }> {
  const name = `${digits(first, 20)}-${digits(rank.epoch, 5)}-${digits(rank.turn, 4)}.seg`;
  const path = join(dir, name);
  const body = Buffer.from(JSON.stringify({ format: 1, ...rank, ...head }));
  const frame = encodeFrame(frameKinds.head, first, head.commitAt, body);
  const handle = await open(`${path}.new`, 'w');
  try {
    await writeAll(handle, frame, 0);
    await handle.datasync();
    await rename(`${path}.new`, path);
    await syncDirectory(dir);
  } catch (error) {
    await handle.close();
    await unlink(`${path}.new`).catch(() => undefined);
    throw error;
  }
  return { segment: { first, ...rank, path, next: first, bytes: frame.length }, handle };
}

/** Reads the body of a segment's head. */
export function parseHead(body: Buffer): SegmentHead {
  const { last, commit, commitAt } = JSON.parse(body.toString('utf8')) as SegmentHead;
  return { last, commit, commitAt };
}

/** The identity alone of what may be a whole record. */
export function identityOf({ epoch, offset, ordinal }: Identity): Identity {
  return { epoch, offset, ordinal };
}

/** Writes all of `buffer` at `position`, however often the system has to be asked. */
export async function writeAll(
  handle: FileHandle,
  buffer: Buffer,
  position: number,
): Promise<void> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesWritten } = await handle.write(
      buffer,
      done,
      buffer.length - done,
      position + done,
    );
    done += bytesWritten;
  }
}

/** Makes names in a directory durable: a synced file can still be lost with its name. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function digits(value: number, width: number): string {
  return String(value).padStart(width, '0');
}
