import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { noEvidence, type Evidence } from '../../core/evidence.ts';
import { currentEvidence, runInContext } from '../../runtime/context.ts';
import { seededRandom } from '../../runtime/random.ts';
import { systemClock } from '../../runtime/clock.ts';
import { memory, type MemoryStore } from '../../stores/memory/index.ts';
import { keyValueAnswers } from './answers.ts';
import { command, type CommandContext, type CommandDone } from './command.ts';
import { commandBus, type CommandBus, type CommandBusOptions } from './command-bus.ts';

interface Actor {
  readonly name: string;
}

const evidence: Evidence = new Map([['bank', [{ epoch: 1, offset: 7 }]]]);

/** A handler that can be watched. */
function greeter(): {
  readonly calls: {
    readonly input: { to: string; times: number };
    readonly context: CommandContext;
  }[];
  readonly greet: ReturnType<typeof greeting>;
} {
  const calls: { input: { to: string; times: number }; context: CommandContext }[] = [];
  return { calls, greet: greeting((input, context) => calls.push({ input, context })) };
}

function greeting(
  told: (input: { to: string; times: number }, context: CommandContext) => unknown,
): ReturnType<typeof command<{ to: string; times: number }, string>> {
  return command({
    input: z.object({ to: z.string().min(1), times: z.number().int().default(1) }),
    authorise: (input) => input.to !== 'the king',
    handle: async (input, context): Promise<CommandDone<string>> => {
      told(input, context);
      return { value: `hello ${input.to}`.repeat(input.times), evidence };
    },
  });
}

type Greet = ReturnType<typeof greeter>['greet'];

function busOf(
  greet: Greet,
  options: Partial<CommandBusOptions<Actor, { greet: Greet }>> = {},
): CommandBus<Actor, { greet: Greet }> {
  return commandBus<Actor, { greet: Greet }>({
    commands: { greet },
    random: seededRandom(1),
    ...options,
  });
}

async function store(): Promise<MemoryStore> {
  return memory().open({ name: 'answers', clock: systemClock, random: seededRandom(1) });
}

describe('a command', () => {
  test('is handed on as its schema hands it back, and answered with evidence', async () => {
    const { calls, greet } = greeter();
    const bus = busOf(greet);
    const answer = await bus.send('greet', { to: 'Ada', times: 2 }, { actor: { name: 'Bob' } });
    expect(answer).toEqual({
      value: 'hello Adahello Ada',
      evidence,
      repeated: false,
      correlationId: expect.any(String),
    });
    await bus.dispatch('greet', { to: 'Eve' }, { correlationId: 'c', causationId: 'x' });
    expect(calls).toMatchObject([
      { input: { to: 'Ada', times: 2 }, context: { name: 'greet', actor: { name: 'Bob' } } },
      { input: { to: 'Eve', times: 1 }, context: { correlationId: 'c', causationId: 'x' } },
    ]);
  });

  test.each<[string, string, unknown, object, string, RegExp]>([
    ['has no name that is known', 'gret', {}, {}, 'COMMAND_INVALID', /did you mean greet/],
    [
      'has the name of something in every object',
      'constructor',
      {},
      {},
      'COMMAND_INVALID',
      /there is no command/,
    ],
    ['does not fit', 'greet', { to: '' }, {}, 'COMMAND_INVALID', /to: /],
    ['is nothing', 'greet', undefined, {}, 'COMMAND_INVALID', /greet/],
    [
      'is not allowed by the command',
      'greet',
      { to: 'the king' },
      {},
      'COMMAND_FORBIDDEN',
      /may not send greet/,
    ],
    ['has an empty key', 'greet', { to: 'Ada' }, { key: '' }, 'COMMAND_INVALID', /key/],
    [
      'has a key that is too long',
      'greet',
      { to: 'Ada' },
      { key: 'k'.repeat(201) },
      'COMMAND_INVALID',
      /key/,
    ],
    ['has a key that is no text', 'greet', { to: 'Ada' }, { key: 7 }, 'COMMAND_INVALID', /key/],
    [
      'has a misspelt option',
      'greet',
      { to: 'Ada' },
      { acter: 1 },
      'CONFIG_UNKNOWN_OPTION',
      /actor/,
    ],
  ])('that %s is refused before its handler', async (_what, name, input, options, code, says) => {
    const { calls, greet } = greeter();
    await expect(busOf(greet).dispatch(name, input, options)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(says),
    });
    expect(calls).toEqual([]);
  });

  test('is refused by the bus for an actor before its input is looked at', async () => {
    const { calls, greet } = greeter();
    const bus = busOf(greet, { authorise: ({ actor }) => actor?.name === 'Ada' });
    await expect(
      bus.dispatch('greet', 'nonsense', { actor: { name: 'Eve' } }),
    ).rejects.toMatchObject({
      code: 'COMMAND_FORBIDDEN',
    });
    await expect(bus.dispatch('greet', { to: 'you' })).rejects.toMatchObject({
      code: 'COMMAND_FORBIDDEN',
    });
    await bus.send('greet', { to: 'you', times: 1 }, { actor: { name: 'Ada' } });
    expect(calls).toHaveLength(1);
  });

  test('that needs a key is refused without one', async () => {
    const { greet } = greeter();
    const bus = busOf({ ...greet, key: 'required' });
    await expect(bus.dispatch('greet', { to: 'Ada' })).rejects.toMatchObject({
      code: 'COMMAND_INVALID',
    });
    await expect(bus.dispatch('greet', { to: 'Ada' }, { key: 'k' })).resolves.toMatchObject({
      value: 'hello Ada',
    });
  });

  test('fails as its handler fails', async () => {
    const failing = command<string, string>({
      handle: () => {
        throw new RangeError('too far');
      },
    });
    const bus = commandBus({ commands: { failing } });
    await expect(bus.send('failing', 'x')).rejects.toThrow(RangeError);
  });
});

describe('what cannot work is refused where it is declared', () => {
  test.each<[string, object, string]>([
    ['a misspelt option', { around2: () => undefined }, 'CONFIG_UNKNOWN_OPTION'],
    ['a command without handler', { commands: { greet: {} } }, 'CONFIG_INVALID'],
    [
      'a schema that is none',
      { commands: { greet: { input: {}, handle: () => 1 } } },
      'CONFIG_INVALID',
    ],
    [
      'a word for key',
      { commands: { greet: { key: 'always', handle: () => 1 } } },
      'CONFIG_INVALID',
    ],
    [
      'a misspelt command option',
      { commands: { greet: { handel: 1, handle: () => 1 } } },
      'CONFIG_UNKNOWN_OPTION',
    ],
  ])('%s', (_what, options, code) => {
    expect(() => commandBus({ commands: {}, ...options })).toThrow(
      expect.objectContaining({ code }),
    );
  });

  test('answers in a store that keeps everything for ever', async () => {
    await using answers = await store();
    const { keyValue } = answers;
    const forEver = Object.assign(Object.create(keyValue) as typeof keyValue, {
      supports: { ...keyValue.supports, ttlResolutionMs: undefined },
    });
    expect(() => keyValueAnswers(forEver)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});

test('the two seams see a command in this order, and what is refused passes only the outer one', async () => {
  const { greet } = greeter();
  const seen: string[] = [];
  const bus = busOf(
    greeting((_input, context) => seen.push(`handler ${context.name}`)),
    {
      around: async ({ context, input }, next) => {
        seen.push(`in ${context.name} ${JSON.stringify(input)}`);
        try {
          return await next();
        } finally {
          seen.push('out');
        }
      },
      aroundHandler: async ({ input }, next) => {
        seen.push(`inner ${JSON.stringify(input)}`);
        const done = await next();
        return { ...done, value: `${String(done.value)}!` };
      },
    },
  );
  expect(greet).toBeDefined();
  expect(await bus.dispatch('greet', { to: 'Ada' })).toMatchObject({ value: 'hello Ada!' });
  await expect(bus.dispatch('greet', { to: '' })).rejects.toMatchObject({
    code: 'COMMAND_INVALID',
  });
  expect(seen).toEqual([
    'in greet {"to":"Ada"}',
    'inner {"to":"Ada","times":1}',
    'handler greet',
    'out',
    'in greet {"to":""}',
    'out',
  ]);
});

describe('with answers kept, a key', () => {
  test('is answered again without the handler, in another process too, with its evidence in the context', async () => {
    await using answers = await store();
    const one = greeter();
    const other = greeter();
    const kept = keyValueAnswers(answers.keyValue);
    const first = await busOf(one.greet, { answers: kept }).send(
      'greet',
      { to: 'Ada', times: 1 },
      { key: 'k' },
    );
    await runInContext(noEvidence, async () => {
      const again = await busOf(other.greet, {
        answers: keyValueAnswers(answers.keyValue),
      }).dispatch('greet', { times: 1, to: 'Ada' }, { key: 'k', correlationId: 'c' });
      expect(again).toEqual({ ...first, repeated: true, correlationId: 'c' });
      expect(currentEvidence()).toEqual(evidence);
    });
    expect([one.calls.length, other.calls.length]).toEqual([1, 0]);
  });

  test('used for another command is COMMAND_KEY_REUSED', async () => {
    await using answers = await store();
    const { calls, greet } = greeter();
    const bus = busOf(greet, { answers: keyValueAnswers(answers.keyValue) });
    await bus.dispatch('greet', { to: 'Ada' }, { key: 'k' });
    await expect(bus.dispatch('greet', { to: 'Bob' }, { key: 'k' })).rejects.toMatchObject({
      code: 'COMMAND_KEY_REUSED',
    });
    expect(calls).toHaveLength(1);
  });

  test('that comes twice at the same time is handled once', async () => {
    await using answers = await store();
    const { calls, greet } = greeter();
    const bus = busOf(greet, { answers: keyValueAnswers(answers.keyValue) });
    const both = await Promise.all(
      [1, 2, 3].map(() => bus.dispatch('greet', { to: 'Ada' }, { key: 'k' })),
    );
    expect(both.map(({ repeated }) => repeated)).toEqual([false, true, true]);
    expect(calls).toHaveLength(1);
  });

  test('of a command that failed is free', async () => {
    await using answers = await store();
    let fails = true;
    const bus = commandBus({
      commands: {
        work: command<number, number>({
          handle: (input) => {
            if (fails) throw new Error('not yet');
            return { value: input + 1, evidence: noEvidence };
          },
        }),
      },
      answers: keyValueAnswers(answers.keyValue),
    });
    await expect(bus.send('work', 1, { key: 'k' })).rejects.toThrow('not yet');
    fails = false;
    expect(await bus.send('work', 1, { key: 'k' })).toMatchObject({ value: 2, repeated: false });
    expect(await bus.send('work', 1, { key: 'k' })).toMatchObject({ value: 2, repeated: true });
  });

  test('still has its command carried out if answers cannot be kept, and that is told', async () => {
    const { calls, greet } = greeter();
    const told: unknown[] = [];
    const bus = busOf(greet, {
      answers: {
        get: () => Promise.reject(new Error('away')),
        keep: () => Promise.reject(new Error('away')),
      },
      onAnswerError: (error) => told.push(error),
    });
    expect(await bus.dispatch('greet', { to: 'Ada' }, { key: 'k' })).toMatchObject({
      value: 'hello Ada',
    });
    expect([calls.length, told.length]).toEqual([1, 2]);
  });

  test('whose input cannot be compared is refused', async () => {
    await using answers = await store();
    const bus = commandBus({
      commands: {
        work: command<Date, number>({ handle: () => ({ value: 1, evidence: noEvidence }) }),
      },
      answers: keyValueAnswers(answers.keyValue),
    });
    await expect(bus.send('work', new Date(0), { key: 'k' })).rejects.toMatchObject({
      code: 'COMMAND_INVALID',
    });
  });
});
