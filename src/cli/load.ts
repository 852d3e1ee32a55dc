import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { TallyApp } from '../app/definition.ts';
import { errorText, TallyError } from '../core/errors.ts';

/** What a file that declares an application exports beside it. */
export type Exported = Readonly<Record<string, unknown>>;

/** The application that a file exports as its default. Throws CONFIG_INVALID saying what is wrong with the file. */
export async function loadApp(file: string): Promise<TallyApp> {
  return (await loadModule(file)).app;
}

/** The same with everything that the file exports. */
export async function loadModule(
  file: string,
): Promise<{ readonly app: TallyApp; readonly exported: Exported }> {
  const path = resolve(file);
  await access(path).catch((cause: unknown) => {
    throw invalid(
      file,
      'the file cannot be read',
      'give the path of the file that declares the application',
      cause,
    );
  });
  let loaded: { readonly default?: unknown };
  try {
    loaded = (await import(pathToFileURL(path).href)) as { readonly default?: unknown };
  } catch (cause) {
    if (cause instanceof TallyError) throw cause;
    throw invalid(
      file,
      `the file failed to load: ${errorText(cause, 300)}`,
      'run it with node to see where; its types must be erasable (no enums, no namespaces)',
      cause,
    );
  }
  if (!isApp(loaded.default))
    throw invalid(
      file,
      'the file does not export an application',
      'write: export default tally({ … })',
    );
  return { app: loaded.default, exported: { ...loaded } };
}

function isApp(value: unknown): value is TallyApp {
  return (
    typeof value === 'object' &&
    value !== null &&
    'stores' in value &&
    'flows' in value &&
    'dir' in value
  );
}

function invalid(file: string, what: string, mend: string, cause?: unknown): TallyError {
  return new TallyError('CONFIG_INVALID', { what, where: file, mend, cause });
}
