import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../runtime/clock.ts';
import { runCommandLine } from './run.ts';

const support = join(import.meta.dirname, '../../test/support');
const appFile = join(support, 'account-app.ts');
const changedFile = join(support, 'account-app-changed.ts');

interface Said {
  readonly code: number;
  readonly out: string;
  readonly said: string;
}

async function tally(...args: readonly string[]): Promise<Said> {
  let [out, said] = ['', ''];
  const code = await runCommandLine(args, {
    out: (text) => (out += `${text}\n`),
    say: (text) => (said += `${text}\n`),
    screen: false,
    clock: systemClock,
    // Only a tail goes on until it is stopped; whatever else is slow has its time.
    signal: args[1] === 'tail' ? AbortSignal.timeout(2_000) : new AbortController().signal,
  });
  return { code, out, said };
}

const lines = ({ out }: Said): readonly Record<string, unknown>[] =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('tally events show', () => {
  test('shows the events of a stream and the state of its aggregate', async () => {
    const shown = await tally('events', 'show', appFile, 'account-ada');
    expect(shown.code).toBe(0);
    expect(shown.out).toMatch(/2 .* deposited v2 +\{"cents":500,"currency":"EUR"\}/);
    expect(shown.out).toMatch(/state as of version 4:\n\{ cents: 400, moves: 4, open: true \}/);
  });

  test('goes back to a version, and to a time', async () => {
    const [then] = lines(
      await tally('events', 'show', appFile, 'account-ada', '--version', '2', '--json'),
    );
    expect(then).toMatchObject({
      version: 2,
      state: { cents: 500 },
      events: [{ version: 1 }, { version: 2 }],
    });
    const [before] = lines(
      await tally(
        'events',
        'show',
        appFile,
        'account-ada',
        '--at',
        '2001-01-01T00:00:00Z',
        '--json',
      ),
    );
    expect(before).toMatchObject({ version: 0, events: [], state: { open: false } });
    const [last] = lines(
      await tally('events', 'show', appFile, 'account-ada', '--last', '1', '--json'),
    );
    expect(last).toMatchObject({ version: 4, events: [{ version: 4 }], state: { cents: 400 } });
  });

  test('shows a stream without a decider as its events, and one that is not there as nothing', async () => {
    const note = await tally('events', 'show', appFile, 'note-1');
    expect(note).toMatchObject({ code: 0, out: expect.stringContaining('no decider knows this') });
    expect(note.out).not.toContain('state');
    expect(await tally('events', 'show', appFile, 'account-eve')).toMatchObject({
      code: 1,
      out: expect.stringContaining('account-eve has no events'),
    });
  });
});

test('tally events replay shows what each event changed, old versions brought up', async () => {
  const replayed = await tally('events', 'replay', appFile, 'account-ada');
  expect(replayed.code).toBe(0);
  expect(replayed.out).toMatch(
    /deposited  \{"cents":7\}\n +moves: 2 → 3\n +cents: 500 → 507|cents: 500 → 507\n +moves: 2 → 3/,
  );
  const steps = lines(
    await tally('events', 'replay', appFile, 'account-ada', '--version', '2', '--json'),
  );
  expect(steps).toMatchObject([
    { event: { version: 1 }, state: { cents: 0 } },
    { event: { version: 2 }, state: { cents: 500 } },
  ]);
});

describe('tally events tail', () => {
  test('shows the newest events of all streams in order, then stops if told to', async () => {
    const tail = lines(await tally('events', 'tail', appFile, '--once', '--last', '3', '--json'));
    expect(tail.map(({ stream, type }) => `${String(stream)} ${String(type)}`)).toEqual([
      'account-bob opened',
      'account-bob closed',
      'note-1 noted',
    ]);
  });

  test('shows those of some types only, from a position on', async () => {
    const tail = await tally('events', 'tail', appFile, 'opened', '--after', '0', '--once');
    expect(tail.out.trim().split('\n')).toHaveLength(2);
    expect(tail.out).toMatch(/^1 .* account-ada 1 {2}opened/);
  });

  test('goes on until it is stopped', async () => {
    const tail = await tally('events', 'tail', appFile);
    expect(tail).toMatchObject({ code: 0 });
    expect(tail.out.trim().split('\n')).toHaveLength(7);
  });
});

describe('tally events diff', () => {
  test('shows what changed in an aggregate between two versions', async () => {
    const diff = await tally('events', 'diff', appFile, 'account-ada', '--from', '2', '--to', '4');
    expect(diff).toMatchObject({ code: 1, out: expect.stringMatching(/cents: 500 → 400/) });
    expect(diff.out).not.toContain('open');
    const [same] = lines(await tally('events', 'diff', appFile, 'account-eve', '--json'));
    expect(same).toEqual({ stream: 'account-eve', from: 0, to: 0, differences: [] });
  });

  test('shows what a changed decider would make of all history, and what it could not read', async () => {
    const diff = await tally('events', 'diff', appFile, 'account', '--against', changedFile);
    expect(diff.code).toBe(1);
    expect(diff.out).toMatch(/account-ada: differs since version 4 of 4\n +cents: 400 → 399/);
    expect(diff.out).toMatch(
      /account-bob: the changed decider cannot read event 2: there is no event "closed"/,
    );
    expect(diff.out).toContain('2 of 2 streams differ; 6 events were read, nothing was written');
    const [ada, bob, run] = lines(
      await tally('events', 'diff', appFile, 'account', '--against', changedFile, '--json'),
    );
    expect(ada).toMatchObject({ kind: 'changed', since: 4, changed: { cents: 399 } });
    expect(bob).toMatchObject({ kind: 'unreadable', by: 'changed', code: 'EVENT_UNKNOWN' });
    expect(run).toEqual({ streams: 2, events: 6, different: 2 });
  });

  test('finds no difference between a decider and itself', async () => {
    const diff = await tally('events', 'diff', appFile, 'account', '--against', appFile);
    expect(diff).toMatchObject({ code: 0, out: expect.stringContaining('0 of 2 streams differ') });
  });
});

describe('what is asked wrongly is refused with its code', () => {
  test.each<[readonly string[], string, string]>([
    [
      ['show', appFile, 'account-ada', '--version', 'two'],
      'CONFIG_INVALID',
      '--version cannot be "two"',
    ],
    [['show', appFile, 'account-ada', '--at', 'noon'], 'CONFIG_INVALID', '--at cannot be "noon"'],
    [['show', appFile, 'note-1', '--store', 'vews'], 'CONFIG_INVALID', 'did you mean views?'],
    [['show', appFile, 'note-1', '--store', 'views'], 'CAPABILITY_MISSING', 'no event store'],
    [['replay', appFile, 'note-1'], 'CONFIG_INVALID', 'no decider of note-1 is declared'],
    [
      ['diff', appFile, 'acount', '--against', changedFile],
      'CONFIG_INVALID',
      'did you mean account?',
    ],
    [
      ['diff', appFile, 'account', '--against', changedFile, '--to', '3'],
      'CONFIG_INVALID',
      'leave one',
    ],
  ])('%j', async (args, code, says) => {
    const ended = await tally('events', ...args);
    expect(ended).toMatchObject({ code: 1, out: '' });
    expect(ended.said).toContain(`tally: ${code}: `);
    expect(ended.said).toContain(says);
  });

  test('a verb that is not there, and none at all', async () => {
    expect(await tally('events', 'shw', appFile)).toMatchObject({
      code: 2,
      said: expect.stringContaining('did you mean events show?'),
    });
    expect(await tally('events')).toMatchObject({
      code: 0,
      out: expect.stringContaining('tally events diff'),
    });
  });
});
