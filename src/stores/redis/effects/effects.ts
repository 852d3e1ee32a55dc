import { createHash } from 'node:crypto';
import { decodeValue } from '../../../core/codec.ts';
import { must, TallyError } from '../../../core/errors.ts';
import { checkNumber, checkOptions } from '../../../core/options.ts';
import { point } from '../../../observe/point.ts';
import {
  checkDoOptions,
  checkEffectKey,
  EFFECT_RESULT_BYTES_MAX,
  EFFECT_RETENTION_MS,
  refused,
  type DoOptions,
  type DoOutcome,
  type EffectKey,
  type Effects,
  type EffectState,
  type EffectsSupports,
  type HeldLock,
  type UndoOutcome,
} from '../../../ports/effects.ts';
import { EVICTION_REMEDY, readEviction, type Eviction } from '../eviction.ts';
import { slotOf, tagOf } from '../keys.ts';
import { listKeys } from '../key-value/list-keys.ts';
import type { RedisParts } from '../parts.ts';
import { around, FORGET, HOLDER, PROBE } from './script.ts';

/**
 * What an effect does, as the body of a Lua function of `KEYS` and `ARGV` (and, of an undo, `RESULT`, the text that the
 * do returned). It returns a text of JSON (`cjson.encode`), or nothing; or `nil, 'reason'` **before it has written
 * anything**, to refuse. All keys, as Redis has them, are of one slot in a cluster.
 */
export interface RedisWork {
  readonly lua: string;
  readonly keys: readonly [string, ...string[]];
  readonly args?: readonly string[];
}

/** Effects whose marker is set by the script that does them. `place` of probe and holder is the first key of the work. */
export type RedisEffects = Effects<RedisWork, RedisWork>;

/** What the effects of Redis can do, unless its store is told otherwise. */
export const effectsSupports: EffectsSupports = {
  unit: 'script',
  locks: true,
  resultBytesMax: EFFECT_RESULT_BYTES_MAX,
  retentionMs: EFFECT_RETENTION_MS,
};

/** By how much longer than the retention markers live: a clock that is set back by less opens no gap. */
const MARGIN_MS = 3_600_000;
/** Markers that one call of `prune` removes if not said otherwise. */
const PRUNE_MAX = 1_000;

/** The reply of a script: a kind, the result, and a lock (token, when it ends, owner, resource). */
type Reply = readonly [kind: string, text?: string, ...lock: string[]];

interface Place {
  readonly marker: string;
  readonly horizon: string;
  readonly counter: string;
  readonly lockRoot: string;
}

/**
 * Effects in Redis, for stores that keep what they answered: with `appendfsync everysec` a crash of Redis may take the
 * last second, effect and marker together; a failover takes what the replica had not received. Throws WRITE_REFUSED for
 * a work that refuses (details.reason), EFFECT_REFUSED for one that failed in its middle (details.reason `torn`), and
 * CONFIG_INVALID where the server may evict markers.
 */
export function openEffects(
  parts: RedisParts,
  options: { readonly retentionMs: number; readonly eviction: Eviction },
): RedisEffects {
  return new ScriptEffects(parts, options);
}

class ScriptEffects implements RedisEffects {
  readonly supports: EffectsSupports;
  readonly #parts: RedisParts;
  readonly #eviction: Eviction;
  #checked: Promise<void> | undefined;

  constructor(
    parts: RedisParts,
    { retentionMs, eviction }: { readonly retentionMs: number; readonly eviction: Eviction },
  ) {
    this.supports = { ...effectsSupports, retentionMs };
    this.#parts = parts;
    this.#eviction = eviction;
  }

  async do(key: EffectKey, work: RedisWork, options: DoOptions = {}): Promise<DoOutcome> {
    const reply = await this.#run('do', key, work, options);
    const [kind, text = '', ...lock] = reply;
    switch (kind) {
      case 'done':
      case 'again': {
        const held = lock.length === 0 ? undefined : lockOf(lock);
        return { kind, result: decodeValue(text), ...(held && { lock: held }) };
      }
      case 'locked':
        return { kind, lock: lockOf(lock) };
      case 'undone':
      case 'forgotten':
      case 'fenced':
        return { kind };
      case 'refused':
        throw new TallyError('WRITE_REFUSED', {
          what: `the work refuses: ${text.slice(0, 200)}`,
          where: this.#parts.where,
          mend: 'decide by its reason; nothing of the effect was kept',
          details: { reason: text },
        });
      default:
        throw torn(text);
    }
  }

  async undo(key: EffectKey, work: RedisWork): Promise<UndoOutcome> {
    const [kind, text = ''] = await this.#run('undo', key, work, {});
    switch (kind) {
      case 'undone':
      case 'again':
      case 'nothing':
      case 'forgotten':
        return { kind };
      default:
        throw torn(text);
    }
  }

  async probe(key: EffectKey, place?: string): Promise<EffectState> {
    checkEffectKey(key);
    const { marker, horizon } = this.#place(key.id, place);
    const args = this.#args(key, {}, '');
    const [kind, text = ''] = (await PROBE.run(this.#parts.link, [marker, horizon], args)) as Reply;
    switch (kind) {
      case 'done':
        return { kind, result: decodeValue(text) };
      case 'undone':
      case 'absent':
      case 'forgotten':
        return { kind };
      default:
        throw torn(text);
    }
  }

  async holder(resource: string, place?: string): Promise<HeldLock | undefined> {
    const { lockRoot } = this.#place('', place);
    const reply = (await HOLDER.run(this.#parts.link, [lockRoot + resource], [])) as
      [owner: string, token: string, expiresAtMs: string] | null;
    if (reply === null) return undefined;
    const [owner, token, expiresAtMs] = reply;
    return { resource, owner, token: Number(token), expiresAtMs: Number(expiresAtMs) };
  }

  /** Markers end by themselves; only one that names a time looks for them, at every key of the database. */
  async prune(
    options: { readonly beforeMs?: number; readonly limit?: number } = {},
  ): Promise<number> {
    checkOptions(options, ['beforeMs', 'limit'], 'prune');
    const { beforeMs, limit = PRUNE_MAX } = options;
    if (beforeMs === undefined) return 0;
    checkNumber(beforeMs, 'prune.beforeMs', { min: 0, integer: true });
    checkNumber(limit, 'prune.limit', { min: 1, integer: true });
    const { link, prefix } = this.#parts;
    // As old as this, and too old for any do by then, without a horizon.
    const until = String(beforeMs + this.supports.retentionMs + MARGIN_MS);
    const lifetimeMs = this.supports.retentionMs + MARGIN_MS;
    let pruned = 0;
    for await (const marker of listKeys(link, `${prefix}_effect:`, Infinity)) {
      const expiresAtMs = Number(await link.send(marker, ['PEXPIRETIME', marker]));
      // A marker lives that long from the start of its saga or from when it was set: this one is at least so young.
      if (expiresAtMs - lifetimeMs >= beforeMs) continue;
      const slot = link.isCluster ? slotOf(marker) : undefined;
      pruned += Number(
        await FORGET.run(
          link,
          [marker, this.#named('_effect-horizon', slot)],
          [String(beforeMs), until],
        ),
      );
      if (pruned === limit) break;
    }
    return pruned;
  }

  async #run(
    kind: 'do' | 'undo',
    key: EffectKey,
    work: RedisWork,
    options: DoOptions,
  ): Promise<Reply> {
    checkEffectKey(key);
    checkDoOptions(options);
    checkOptions(work, ['lua', 'keys', 'args'], 'work');
    await this.#checkEviction();
    const { marker, horizon, counter, lockRoot } = this.#place(key.id, work.keys[0]);
    const { lock, unlock } = options;
    const keys = [
      marker,
      horizon,
      counter,
      lock === undefined ? marker : lockRoot + lock.resource,
      unlock === undefined ? marker : lockRoot + unlock.resource,
      ...work.keys,
    ] as const;
    const args = [...this.#args(key, options, lockRoot), ...(work.args ?? [])];
    point('effects.before-effect');
    const reply = (await around(kind, work.lua).run(this.#parts.link, keys, args)) as Reply;
    point('effects.after-effect-before-answer');
    return reply;
  }

  #args(key: EffectKey, { lock, unlock }: DoOptions, lockRoot: string): string[] {
    return [
      String(key.startedAtMs),
      String(this.supports.retentionMs),
      String(MARGIN_MS),
      lock?.owner ?? '',
      String(lock?.ttlMs ?? ''),
      String(lock?.token ?? ''),
      unlock?.owner ?? '',
      createHash('sha1').update(key.id).digest('hex'),
      String(EFFECT_RESULT_BYTES_MAX),
      lockRoot,
      lock?.resource ?? '',
    ];
  }

  #place(id: string, near: string | undefined): Place {
    const { link, where } = this.#parts;
    if (link.isCluster && near === undefined)
      throw new TallyError('CONFIG_INVALID', {
        what: 'in a cluster the marker of an effect stands by the first key of its work, which is not given',
        where,
        mend: 'give that key as the place',
      });
    const slot = link.isCluster && near !== undefined ? slotOf(near) : undefined;
    return {
      marker: `${this.#named('_effect', slot)}:${id}`,
      horizon: this.#named('_effect-horizon', slot),
      counter: this.#named('_effect-token', slot),
      lockRoot: `${this.#named('_effect-lock', slot)}:`,
    };
  }

  #named(name: string, slot: number | undefined): string {
    const root = this.#parts.prefix + name;
    return slot === undefined ? root : `${root}:{${tagOf(slot)}}`;
  }

  /** Markers have a time to live, so that every policy but noeviction may take them. */
  async #checkEviction(): Promise<void> {
    if (this.#eviction === 'accept') return;
    this.#checked ??= this.#lookAtEviction();
    try {
      await this.#checked;
    } catch (error) {
      this.#checked = undefined;
      throw error;
    }
  }

  async #lookAtEviction(): Promise<void> {
    const states = await readEviction(this.#parts.link);
    const bad = states.find(({ policy, maxmemory }) => policy !== 'noeviction' && maxmemory > 0);
    if (bad === undefined) return;
    throw new TallyError('CONFIG_INVALID', {
      what: `Redis evicts keys when its memory is full (maxmemory-policy ${bad.policy}): the markers that keep effects from happening twice, too`,
      where: this.#parts.where,
      mend: `run ${EVICTION_REMEDY} and keep it in redis.conf; or open the store with eviction: 'accept' and lose that protection`,
      details: { policy: bad.policy, maxmemory: bad.maxmemory, node: bad.node },
    });
  }
}

function lockOf(lock: readonly string[]): HeldLock {
  const [token, expiresAtMs, owner, resource] = lock;
  return {
    resource: must(resource, 'the resource of a lock'),
    owner: must(owner, 'the owner of a lock'),
    token: Number(token),
    expiresAtMs: Number(expiresAtMs),
  };
}

function torn(message: string): TallyError {
  return refused(
    'torn',
    `the work failed in its middle, and Redis keeps what it had written: ${message.slice(0, 200)}`,
    'look at its keys, settle its saga by hand, and let the work check everything before it writes',
  );
}
