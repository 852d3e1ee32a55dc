import { expect, test } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { systemRandom } from '../../runtime/random.ts';
import { memory, type MemoryStore } from '../../stores/memory/index.ts';
import { aggregates } from './aggregates.ts';
import { decider } from './decider.ts';
import { isForgotten, sealedEvents, type Forgotten, type SealedEvents } from './sealed.ts';

const context = { name: 'people', clock: systemClock, random: systemRandom };
const sealed = { signed: { subject: 'person', members: ['name', 'address'] } };

type Contract = {
  readonly command:
    | { readonly kind: 'sign'; readonly person: string; readonly name: string }
    | { readonly kind: 'end' };
  readonly state: { readonly name: string; readonly status: string };
  readonly event:
    | { readonly type: 'signed'; readonly data: { person: string; name: string | Forgotten } }
    | { readonly type: 'ended'; readonly data: Record<string, never> };
};

const contract = decider<Contract>({
  category: 'contract',
  initial: { name: '', status: 'none' },
  decide: (command) =>
    command.kind === 'sign'
      ? [{ type: 'signed', data: { person: command.person, name: command.name } }]
      : [{ type: 'ended', data: {} }],
  evolve: (state, event) =>
    event.type === 'ended'
      ? { ...state, status: 'ended' }
      : { status: 'signed', name: isForgotten(event.data.name) ? '(forgotten)' : event.data.name },
  events: { signed: {}, ended: {} },
});

async function people(): Promise<{ readonly store: MemoryStore } & SealedEvents<unknown>> {
  const store = await memory({ capture: 'events' }).open(context);
  return { store, ...sealedEvents<unknown>(store.events, { keys: store.keyValue, sealed }) };
}

test('who was forgotten is a tombstone for evolve; the events stay, and others are as they were', async () => {
  const { store, events, forget } = await people();
  const contracts = aggregates<Contract, unknown>(contract, { events });
  for (const person of ['ada', 'bob'])
    await contracts.handle(person, { kind: 'sign', person, name: `${person} of London` });
  expect((await contracts.load('ada')).state).toEqual({ name: 'ada of London', status: 'signed' });
  const raw: string[] = [];
  for await (const page of store.events.readAll()) raw.push(JSON.stringify(page.events));
  expect(raw.join('')).not.toContain('London');

  await forget('ada');
  await forget('ada');
  await contracts.handle('ada', { kind: 'end' });
  expect(await contracts.load('ada')).toMatchObject({
    version: 2,
    state: { name: '(forgotten)', status: 'ended' },
  });
  expect((await contracts.load('bob')).state.name).toBe('bob of London');
  expect(await events.head()).toBe(3);
  await expect(
    contracts.handle('ada2', { kind: 'sign', person: 'ada', name: 'Ada again' }),
  ).rejects.toMatchObject({ code: 'EVENT_INVALID', details: { subject: 'ada' } });
});

test('an append that is repeated is the same again, by whichever process', async () => {
  const { store, events } = await people();
  const other = sealedEvents<unknown>(store.events, { keys: store.keyValue, sealed });
  const data = { person: 'ada', name: 'Ada', address: { city: 'London' } };
  const event = { id: 'one', type: 'signed', data };
  const [first, again] = await Promise.all([
    events.append('c', [event]),
    other.events.append('c', [event]),
  ]);
  expect(first.repeated).not.toBe(again.repeated);
  expect((await events.find('one'))?.data).toEqual(data);
  await expect(
    events.append('c', [{ ...event, data: { ...data, name: 'Eve' } }]),
  ).rejects.toMatchObject({ code: 'EVENT_ID_REUSED' });
});

test('what was written before there were seals is read as it was; a wrong key is STORE_CORRUPT', async () => {
  const { store, events } = await people();
  await store.events.append('c', [{ type: 'signed', data: { person: 'ada', name: 'Ada' } }]);
  await events.append('c', [{ type: 'signed', data: { person: 'ada', name: 'Ada L.' } }]);
  const names: unknown[] = [];
  for await (const page of events.readStream('c'))
    for (const { data } of page) names.push((data as { readonly name: unknown }).name);
  expect(names).toEqual(['Ada', 'Ada L.']);
  await store.keyValue.set('subject/ada', Buffer.alloc(32, 1).toString('base64'));
  await expect(async () => {
    for await (const page of events.readAll()) expect(page.events).toHaveLength(2);
  }).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
});

test('an event that does not say whom it is about is refused, with nothing written', async () => {
  const { events } = await people();
  await expect(
    events.append('c', [{ type: 'signed', data: { name: 'Ada' } }]),
  ).rejects.toMatchObject({ code: 'EVENT_INVALID' });
  expect(await events.head()).toBe(0);
});
