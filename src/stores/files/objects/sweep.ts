import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { filesError } from '../errors.ts';
import { removeIfPresent, NAME_CHARACTERS } from './locks.ts';
import { livenessOf, readOwner, type Owner } from './owner.ts';
import type { Shelf } from './shelf.ts';

/** What a sweep removed. */
export interface Swept {
  readonly temporaryFiles: number;
  readonly uploads: number;
  readonly locks: number;
}

/**
 * Removes what processes that are gone left behind: temporary files, uploads, locks. What belongs to
 * a live process, or to another host or container whose processes cannot be asked for, stays.
 */
export async function sweepLeftovers(shelf: Shelf, self: Owner): Promise<Swept> {
  const { areas } = shelf;
  try {
    const states = new Map<string, boolean>();
    const isLeft = async (name: string): Promise<boolean> => {
      const id = name.slice(0, name.indexOf('.'));
      let left = states.get(id);
      if (left === undefined) {
        const owner = await readOwner(join(areas.owners, id));
        left = owner === undefined || (await livenessOf(owner, self)) === 'dead';
        states.set(id, left);
      }
      return left;
    };
    const swept = { temporaryFiles: 0, uploads: 0, locks: 0 };
    for (const name of await readdir(areas.temporary)) {
      if ((await isLeft(name)) && (await removeIfPresent(join(areas.temporary, name))))
        swept.temporaryFiles += 1;
    }
    for (const name of await readdir(areas.uploads)) {
      if (!(await isLeft(name))) continue;
      await shelf.removeTree(join(areas.uploads, name));
      swept.uploads += 1;
    }
    swept.locks = await sweepLocks(shelf, self);
    // The owners last: while one's file is there, what it left can be told for dead.
    for (const id of await readdir(areas.owners)) {
      if (await isLeft(`${id}.`)) await removeIfPresent(join(areas.owners, id));
    }
    return swept;
  } catch (error) {
    throw filesError(error, areas.root);
  }
}

async function sweepLocks(shelf: Shelf, self: Owner): Promise<number> {
  const directory = shelf.areas.locks;
  const names = await readdir(directory);
  let locks = 0;
  for (const name of names.filter((candidate) => !candidate.includes('.'))) {
    if (await shelf.locks.breakIfDead(join(directory, name))) locks += 1;
  }
  for (const name of names.filter((candidate) => candidate.includes('.'))) {
    // A claim on a lock that is gone: its owner is dead and can never have that lock again.
    const claim = join(directory, name);
    const owner = await readOwner(claim);
    const lock = await readOwner(join(directory, name.slice(0, NAME_CHARACTERS)));
    const useless = owner !== undefined && lock === undefined;
    if (useless && (await livenessOf(owner, self)) === 'dead') await removeIfPresent(claim);
  }
  return locks;
}
