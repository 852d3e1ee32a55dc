import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { copied, inFolder, openCopy, owned, WITHIN, write } from '../support/copy-app.ts';

// A ledger that is lost alone: source, log and target remember greater worker epochs than the new one gives out.

test('an application whose ledger was lost flows again within two seconds', () =>
  inFolder(async (dir) => {
    for (let round = 0; round < 8; round += 1) {
      await using app = await openCopy(dir);
      const after = await write(app, { a: String(round), [`r${round}`]: 'x' });
      expect(await app.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
    }
    for (const suffix of ['', '-wal', '-shm'])
      await rm(join(dir, 'coordinator', `ledger.db${suffix}`), { force: true });
    {
      await using app = await openCopy(dir);
      const after = await write(app, { a: 'after', b: '1' });
      expect(await app.barrier('search', { after, within: '2s' })).toEqual({ kind: 'fresh' });
    }
    expect(copied(dir)).toEqual(owned(dir));
    await using again = await openCopy(dir);
    const after = await write(again, { a: 'once more' });
    expect(await again.barrier('search', { after, within: WITHIN })).toEqual({ kind: 'fresh' });
    expect(copied(dir)).toEqual(owned(dir));
  }));
