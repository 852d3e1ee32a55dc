import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { filesError } from '../errors.ts';
import type { Areas, Disk, Draft } from './disk.ts';
import { pathOfKey, type KeyBytes } from './key-path.ts';
import type { KeyLocks } from './locks.ts';
import { readTrailerAt, type Trailer } from './trailer.ts';
import { walkKeys, type Found, type WalkQuery } from './walk.ts';

/** What the objects of a store and its sink share: the files of keys, changed under the lock of each key. */
export class Shelf {
  readonly disk: Disk;
  readonly locks: KeyLocks;
  readonly areas: Areas;

  constructor(disk: Disk, locks: KeyLocks) {
    this.disk = disk;
    this.locks = locks;
    this.areas = disk.areas;
  }

  pathOf(bytes: KeyBytes): string {
    return pathOfKey(this.areas.objects, bytes);
  }

  /** What stands behind the body at a key, tombstones included; undefined if there is nothing. */
  async read(bytes: KeyBytes): Promise<Trailer | undefined> {
    return this.readPath(this.pathOf(bytes));
  }

  async readPath(path: string): Promise<Trailer | undefined> {
    try {
      return await readTrailerAt(path);
    } catch (error) {
      throw filesError(error, path);
    }
  }

  /** Runs `work` alone among all processes that change this key. */
  async alone<Result>(bytes: KeyBytes, work: () => Promise<Result>): Promise<Result> {
    try {
      return await this.locks.hold(`key:${bytes}`, work);
    } catch (error) {
      throw filesError(error, this.areas.locks);
    }
  }

  /**
   * Puts a draft in its place if `allow` accepts what is there, else discards it. Durable when it
   * returns. Readers see the old object or the whole new one.
   */
  async place(
    bytes: KeyBytes,
    draft: Draft,
    allow: ((held: Trailer | undefined) => void) | undefined,
  ): Promise<void> {
    const path = this.pathOf(bytes);
    try {
      await this.alone(bytes, async () => {
        // An unconditional put need not look, but it takes its turn: between the look of a
        // conditional one and its rename, nothing may change.
        allow?.(await this.readPath(path));
        await this.disk.place(draft.path, path);
      });
    } catch (error) {
      await this.disk.discard(draft.path);
      throw error;
    }
    await this.disk.sync(dirname(path));
  }

  /** Removes the file of a key. Call it under the lock of the key. */
  async remove(path: string): Promise<boolean> {
    return this.disk.remove(path, this.areas.objects);
  }

  walk(query: WalkQuery): AsyncGenerator<Found, void, undefined> {
    return walkKeys(this.areas.objects, query);
  }

  async removeTree(path: string): Promise<void> {
    try {
      await rm(path, { recursive: true, force: true });
    } catch (error) {
      throw filesError(error, path);
    }
  }
}
