import type { DoOptions, EffectKey, Effects } from '../ports/effects.ts';
import type { Liar } from './liars-shape.ts';

let openings = 0;

type AnyEffects = Effects<unknown, unknown>;

/** Effects that each break one promise of the port. */
export const effectsLiars: Readonly<Record<string, Liar<AnyEffects>>> = {
  leavesNoMarker: {
    lie: 'does the work anew each time it is asked',
    caughtBy: 'EF-001',
    wrap: (effects) => {
      let calls = 0;
      const next = (key: EffectKey): EffectKey => ({ ...key, id: `${key.id} ${(calls += 1)}` });
      return {
        ...delegate(effects),
        do: (key, work, options) => effects.do(next(key), work, options),
      };
    },
  },
  forgetsTheResult: {
    lie: 'answers a second do without the result of the first',
    caughtBy: 'EF-001',
    wrap: (effects) => ({
      ...delegate(effects),
      do: async (key, work, options) => {
        const outcome = await effects.do(key, work, options);
        return outcome.kind === 'again' ? { kind: 'again', result: null } : outcome;
      },
    }),
  },
  looksTooEarly: {
    lie: 'looks for the marker in one step and does the work in another',
    caughtBy: 'EF-002',
    wrap: (effects) => {
      const done = new Map<string, EffectKey>();
      let calls = 0;
      return {
        ...delegate(effects),
        do: async (key, work, options) => {
          const before = done.get(key.id);
          if (before !== undefined) return effects.do(before, work, options);
          calls += 1;
          const alias = { ...key, id: `${key.id} ${calls}` };
          const outcome = await effects.do(alias, work, options);
          done.set(key.id, alias);
          return outcome;
        },
      };
    },
  },
  remembersInTheProcess: {
    lie: 'keeps its markers in memory',
    caughtBy: 'EF-003',
    wrap: (effects) => {
      openings += 1;
      const opened = openings;
      const mine = (key: EffectKey): EffectKey => ({ ...key, id: `${key.id} ${opened}` });
      return {
        ...delegate(effects),
        do: (key, work, options) => effects.do(mine(key), work, options),
        undo: (key, work) => effects.undo(mine(key), work),
        probe: (key, place) => effects.probe(mine(key), place),
      };
    },
  },
  saysDoneThatFailed: {
    lie: 'takes a work that threw for done',
    caughtBy: 'EF-006',
    wrap: (effects) => ({
      ...delegate(effects),
      do: async (key, work, options) => {
        try {
          return await effects.do(key, work, options);
        } catch {
          return { kind: 'done', result: null };
        }
      },
    }),
  },
  undoesWithoutATrace: {
    lie: 'leaves nothing behind where there was nothing to undo',
    caughtBy: 'EF-022',
    wrap: (effects) => ({
      ...delegate(effects),
      undo: async (key, work) => {
        const { kind } = await effects.probe(key);
        return kind === 'absent' ? { kind: 'nothing' } : effects.undo(key, work);
      },
    }),
  },
  doesAfterUndo: {
    lie: 'does again what was undone',
    caughtBy: 'EF-021',
    wrap: (effects) => ({
      ...delegate(effects),
      do: async (key, work, options) => {
        const outcome = await effects.do(key, work, options);
        if (outcome.kind !== 'undone') return outcome;
        return effects.do({ ...key, id: `${key.id} anew` }, work, options);
      },
    }),
  },
  forgetsThatItForgot: {
    lie: 'does again what it has forgotten',
    caughtBy: 'EF-030',
    wrap: (effects) => ({
      ...delegate(effects),
      do: async (key, work, options) => {
        const outcome = await effects.do(key, work, options);
        if (outcome.kind !== 'forgotten') return outcome;
        const startedAtMs = Number.MAX_SAFE_INTEGER;
        return effects.do({ id: key.id, startedAtMs }, work, options);
      },
    }),
  },
  letsEverybodyIn: {
    lie: 'takes no lock',
    caughtBy: 'EF-040',
    wrap: (effects) => ({ ...delegate(effects), do: (key, work) => effects.do(key, work) }),
  },
  hidesTheHolder: {
    lie: 'does not show who holds a lock',
    caughtBy: 'EF-040',
    wrap: (effects) => ({ ...delegate(effects), holder: () => Promise.resolve(undefined) }),
  },
  ignoresTheToken: {
    lie: 'lets a holder go on whose lock has run out',
    caughtBy: 'EF-044',
    wrap: (effects) => ({
      ...delegate(effects),
      do: (key, work, options) => effects.do(key, work, withoutToken(options)),
    }),
  },
};

function withoutToken({ lock, unlock }: DoOptions = {}): DoOptions {
  if (lock === undefined) return unlock === undefined ? {} : { unlock };
  const { resource, owner, ttlMs } = lock;
  return { lock: { resource, owner, ttlMs }, ...(unlock && { unlock }) };
}

function delegate(effects: AnyEffects): AnyEffects {
  return {
    supports: effects.supports,
    do: (key, work, options) => effects.do(key, work, options),
    undo: (key, work) => effects.undo(key, work),
    probe: (key, place) => effects.probe(key, place),
    holder: (resource, place) => effects.holder(resource, place),
    prune: (options) => effects.prune(options),
  };
}
