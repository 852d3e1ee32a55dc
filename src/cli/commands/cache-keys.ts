import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { TallyError } from '../../core/errors.ts';
import { checkNumber } from '../../core/options.ts';
import type { CacheInspection, WarmProgress } from '../../patterns/cache/index.ts';
import type { Call, Command } from '../command.ts';
import { checkDone, withCache } from '../caches.ts';

/** A payload is cut after so many characters: a screen full. */
const PAYLOAD_SHOWN = 2_000;

/** `tally cache get`: what is kept of keys; nothing is loaded. */
export const cacheGetCommand: Command = {
  usage: 'tally cache get APP.ts CACHE KEY…',
  about:
    'Show what the shared tier keeps of keys, how fresh it is and with which tags. Loads nothing.',
  options: {},
  rest: { min: 2, max: 100 },
  run: async (call, { out }) => {
    const [name = '', ...keys] = call.rest;
    return withCache(await call.app(), name, async (cache) => {
      const found = await Promise.all(keys.map((key) => cache.inspect(key)));
      if (call.json) out(JSON.stringify({ cache: name, keys: found.map(asJson) }));
      else for (const one of found) out(asText(one));
      return found.every(({ entry }) => entry !== undefined) ? 0 : 1;
    });
  },
};

/** `tally cache invalidate`: by key, by tag, or everything. */
export const cacheInvalidateCommand: Command = {
  usage: 'tally cache invalidate APP.ts CACHE [KEY…]',
  about:
    'Invalidate keys, everything with a tag, or the whole cache: readers load anew from now on.',
  options: {
    tag: { takes: 'TAG', about: 'everything that carries it' },
    all: { about: 'everything' },
  },
  rest: { min: 1, max: 10_000 },
  run: async (call, { out }) => {
    const [name = '', ...keys] = call.rest;
    const { tag, all } = call.options;
    const ways = [keys.length > 0, tag !== undefined, all === true].filter(Boolean);
    if (ways.length !== 1)
      throw new TallyError('CONFIG_INVALID', {
        what: 'it is not clear what to invalidate',
        mend: 'give keys, or --tag TAG, or --all',
      });
    return withCache(await call.app(), name, async (cache) => {
      if (all === true) checkDone(await cache.invalidateAll(), name);
      else if (typeof tag === 'string') checkDone(await cache.invalidateTags([tag]), name);
      else checkDone(await cache.invalidateKeys(keys), name);
      const what = all === true ? 'all' : typeof tag === 'string' ? { tag } : { keys };
      if (call.json) out(JSON.stringify({ cache: name, invalidated: what }));
      else out(`${name}: invalidated ${describe(keys, tag)}`);
      return 0;
    });
  },
};

/** `tally cache warm`: loads what is not there. */
export const cacheWarmCommand: Command = {
  usage: 'tally cache warm APP.ts CACHE [KEY…]',
  about:
    'Load keys that are not there, with the loader of the application. Ctrl-C stops between groups.',
  options: {
    keys: { takes: 'FILE', about: 'a file of keys, one a line' },
    'json-keys': { about: 'each key is JSON: a number, a list' },
    limit: { takes: 'NUMBER', about: 'at most so many keys' },
  },
  rest: { min: 1, max: 10_000 },
  run: async (call, { out, say, signal }) => {
    const [name = '', ...given] = call.rest;
    const { limit } = call.options;
    return withCache(await call.app(), name, async (cache) => {
      const done = await cache.warm(keysOf(call, given), {
        signal,
        onProgress: (progress) => say(progressText(name, progress)),
        ...(typeof limit === 'string'
          ? { limit: checkNumber(Number(limit), '--limit', { min: 1, integer: true }) }
          : {}),
      });
      out(call.json ? JSON.stringify({ cache: name, ...done }) : progressText(name, done));
      return done.failed > 0 ? 1 : 0;
    });
  },
};

async function* keysOf(call: Call, given: readonly string[]): AsyncGenerator {
  const parse = (text: string): unknown =>
    call.options['json-keys'] === true ? parsed(text) : text;
  for (const key of given) yield parse(key);
  const { keys } = call.options;
  if (typeof keys !== 'string') return;
  const lines = createInterface({ input: createReadStream(keys), crlfDelay: Infinity });
  try {
    for await (const line of lines) if (line !== '') yield parse(line);
  } catch (cause) {
    throw new TallyError('INPUT_INVALID', {
      what: 'the file of keys cannot be read',
      where: keys,
      mend: 'give the path of a file with one key a line',
      cause,
    });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new TallyError('INPUT_INVALID', {
      what: `a key is no JSON: ${text.slice(0, 60)}`,
      mend: 'write one JSON value a line, or leave --json-keys out',
      cause,
    });
  }
}

function asJson({ key, entry, isNear }: CacheInspection): object {
  if (entry === undefined) return { key, isThere: false };
  const { payload, ...rest } = entry;
  const text = typeof payload === 'string' ? payload : Buffer.from(payload).toString('base64');
  return { key, isThere: true, isNear, ...rest, payload: text };
}

function asText({ key, entry }: CacheInspection): string {
  if (entry === undefined) return `${key}: not there`;
  const { payload, freshForMs, ageMs, loadMs, tags } = entry;
  const fresh =
    freshForMs > 0 ? `fresh for ${seconds(freshForMs)}` : `stale since ${seconds(-freshForMs)}`;
  const tagged = tags.length === 0 ? '' : `, tags ${tags.join(' ')}`;
  const shown =
    typeof payload === 'string' ? payload.slice(0, PAYLOAD_SHOWN) : `${payload.length} bytes`;
  return `${key}: ${fresh}, ${seconds(ageMs)} old, loaded in ${Math.round(loadMs)} ms${tagged}\n${shown}`;
}

function describe(keys: readonly string[], tag: string | boolean | undefined): string {
  if (typeof tag === 'string') return `the tag ${tag}`;
  return keys.length === 0 ? 'everything' : `${keys.length} ${keys.length === 1 ? 'key' : 'keys'}`;
}

function progressText(name: string, { keys, loaded, skipped, failed }: WarmProgress): string {
  return `${name}: ${keys} keys, ${loaded} loaded, ${skipped} there already, ${failed} failed`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
