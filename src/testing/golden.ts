import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeValue, encodeValue } from '../core/codec.ts';
import type { Row, Value } from '../core/row.ts';
import type { Decider } from '../patterns/events/decider.ts';
import type { DeciderTypes, DomainEvent } from '../patterns/events/event.ts';

/**
 * Golden files show that history can still be read: `NAME.v2.json` holds events named NAME as they were written in version
 * 2, each with what it is read as today. They are kept in version control and never rewritten, as history is not.
 */
interface Sample {
  readonly written: Value;
  readonly read: DomainEvent;
}

/**
 * Resolves if every event of the golden files is read as recorded, and every name and version that a decider declares has
 * a file; rejects with node's AssertionError otherwise. `directory` is a path or a file URL.
 *
 * @example
 * test('history is read as it was', () => readsGolden(account, new URL('./golden/', import.meta.url)));
 */
export async function readsGolden<Types extends DeciderTypes>(
  decider: Decider<Types>,
  directory: string | URL,
): Promise<void> {
  const folder = pathOf(directory);
  const { types } = decider;
  const files: readonly string[] = await readdir(folder).catch((): string[] => []);
  const missing = types.storedNames.flatMap((name) =>
    types.names.includes(name)
      ? Array.from({ length: types.versionOf(name) }, (_, index) => fileOf(name, index + 1))
      : files.some((file) => file.startsWith(`${name}.v`))
        ? []
        : [fileOf(name, 1)],
  );
  assert.deepEqual(
    missing.filter((file) => !files.includes(file)),
    [],
    `golden files are missing in ${folder}: recordGolden writes those of the present version`,
  );
  for (const file of files.filter((name) => name.endsWith('.json')).toSorted()) {
    const [, name, version] = /^(.+)\.v(\d+)\.json$/.exec(file) ?? [];
    assert.ok(name !== undefined, `${file} is not named NAME.vVERSION.json`);
    for (const [index, { written, read }] of (await samplesIn(join(folder, file))).entries()) {
      const event = await types.read({ type: name, schemaVersion: Number(version), data: written });
      assert.deepEqual(
        event,
        read,
        `event ${index + 1} of ${file} is read as something else than it was`,
      );
    }
  }
}

/**
 * Records events of today as golden files of their present versions: once, when a type or a version is new. A file that is
 * there is left as it is. Returns the names of the files that were written.
 */
export async function recordGolden<Types extends DeciderTypes>(
  decider: Decider<Types>,
  directory: string | URL,
  events: readonly Types['event'][],
): Promise<readonly string[]> {
  const folder = pathOf(directory);
  await mkdir(folder, { recursive: true });
  const present = await readdir(folder);
  const byFile = new Map<string, Sample[]>();
  for (const event of events) {
    await decider.types.check(event, 'recordGolden');
    const file = fileOf(event.type, decider.types.versionOf(event.type));
    const data = event.data as Value;
    byFile.set(file, [
      ...(byFile.get(file) ?? []),
      { written: data, read: { type: event.type, data } },
    ]);
  }
  const added = [...byFile].filter(([file]) => !present.includes(file));
  for (const [file, samples] of added) {
    const text = encodeValue(samples as unknown as Value);
    await writeFile(join(folder, file), `${JSON.stringify(JSON.parse(text), undefined, 2)}\n`);
  }
  return added.map(([file]) => file);
}

async function samplesIn(path: string): Promise<readonly Sample[]> {
  const samples = decodeValue(await readFile(path, 'utf8'));
  assert.ok(Array.isArray(samples) && samples.length > 0, `${path} is not a list of events`);
  return (samples as readonly Row[]).map((sample) => ({
    written: sample['written'] as Value,
    read: sample['read'] as unknown as DomainEvent,
  }));
}

function fileOf(name: string, version: number): string {
  return `${name}.v${version}.json`;
}

function pathOf(directory: string | URL): string {
  return typeof directory === 'string' ? directory : fileURLToPath(directory);
}
