import { families } from '../advisor/system.ts';
import { carriers, dataKinds, invariants, roles } from './model.ts';
import type { ObjectShape, Shape } from './shape.ts';

/** Services, stores, data, flows or streams of one topology. */
const TOPOLOGY_PARTS_MAX = 5_000;
/** Calls, queries or references of one service: a service with more is no service. */
const SERVICE_PARTS_MAX = 500;

const text = (about: string): Shape => ({ kind: 'text', about });
const word = (about: string, words: readonly string[]): Shape => ({ kind: 'word', about, words });
const list = (about: string, of: Shape, max: number): Shape => ({ kind: 'list', about, of, max });
const names = (about: string): Shape => list(about, text('a name'), SERVICE_PARTS_MAX);

const store: ObjectShape = {
  kind: 'object',
  about: 'A store: the name of a system, of a store under `stores`, or a map.',
  short: 'system',
  required: ['system'],
  fields: {
    system: text('The storage system, such as postgresql; or the name of a store under `stores`.'),
    kind: word('What it is, where the catalogue does not know the system.', families),
    configuration: text('How it is set up, as the catalogue names it, such as sync-standby.'),
    copies: {
      kind: 'number',
      about: 'Machines that each hold all of it.',
      min: 1,
      max: 1_000,
      integer: true,
    },
    retention: { kind: 'duration', about: 'How long it keeps what is written.' },
    rebuild: { kind: 'duration', about: 'How long it takes to fill it again from what feeds it.' },
    restoreTested: { kind: 'day', about: 'When a backup was last restored and compared.' },
    availability: { kind: 'share', about: 'The share of time it answers.' },
    region: text('Where it stands.'),
    invalidation: word('Who takes a value out of this cache when it changes.', [
      'flow',
      'ttl',
      'writer',
      'none',
    ]),
  },
};

const call: ObjectShape = {
  kind: 'object',
  about: 'A call of another service.',
  short: 'to',
  required: ['to'],
  fields: {
    to: text('The service that is called.'),
    mode: word('Whether the caller waits (sync, the default) or not.', ['sync', 'async']),
    timeout: { kind: 'duration', about: 'How long the caller waits.' },
    perRequest: { kind: 'number', about: 'Calls for one request of the caller.', min: 0, max: 1e6 },
  },
};

const query: ObjectShape = {
  kind: 'object',
  about: 'A question that the service answers.',
  required: ['name', 'reads'],
  fields: {
    name: text('What it is called.'),
    reads: names('The data it reads, as named under `data`.'),
    per: word('Whether the next store is asked for each row, or for a batch of keys.', [
      'row',
      'batch',
    ]),
    from: text('The store it reads from, as SERVICE.ROLE, or a role of this service.'),
    freshness: word('Whether the reader must see what it just wrote.', ['any', 'own-writes']),
    waits: word('What makes own writes visible.', ['evidence', 'source']),
  },
};

const transaction: ObjectShape = {
  kind: 'object',
  about: 'A change that must happen whole or not at all.',
  required: ['name', 'across'],
  fields: {
    name: text('What it is called.'),
    across: names('The stores that change, as SERVICE.ROLE or a role of this service.'),
    by: word('What keeps it whole.', ['saga', 'outbox', 'two-phase', 'none']),
  },
};

const service: ObjectShape = {
  kind: 'object',
  about: 'A service: what is deployed together.',
  required: ['name'],
  fields: {
    name: text('Its name, once in the topology.'),
    team: text('Who is woken up.'),
    instances: { kind: 'number', about: 'How many run.', min: 1, max: 1e6, integer: true },
    availability: { kind: 'share', about: 'The share of requests it answers, by itself.' },
    latency: { kind: 'duration', about: 'What it takes by itself for a request, without calls.' },
    storage: {
      kind: 'object',
      about: 'Its stores by what they are for.',
      fields: Object.fromEntries(roles.map((role) => [role, store])),
    },
    calls: list('The services it calls.', call, SERVICE_PARTS_MAX),
    writes: names('Data of others that it writes. What it owns it writes anyway.'),
    reads: names('Data of others that it reads in their store.'),
    queries: list('Questions that read several data.', query, SERVICE_PARTS_MAX),
    transactions: list('Changes across stores.', transaction, SERVICE_PARTS_MAX),
  },
};

const data: ObjectShape = {
  kind: 'object',
  about: 'Some data with its one owner.',
  short: 'owner',
  required: ['owner'],
  fields: {
    owner: text('The one service that decides about it.'),
    store: text('Its source of truth, as SERVICE.ROLE or a store; the owner’s primary otherwise.'),
    kind: word('What it is.', dataKinds),
    invariants: list('What must always hold.', word('an invariant', invariants), 10),
    itemSize: { kind: 'size', about: 'The largest row, document or object.' },
    partition: {
      kind: 'object',
      about: 'How it is spread over machines.',
      short: 'key',
      required: ['key'],
      fields: {
        key: text('What decides where a row goes.'),
        bucket: text('What splits one key over time or hash, such as day.'),
        grows: { kind: 'flag', about: 'Whether one key gets rows for ever.' },
      },
    },
  },
};

const flow: ObjectShape = {
  kind: 'object',
  about: 'A way of data from one store into another.',
  required: ['from', 'to', 'by'],
  fields: {
    name: text('What it is called.'),
    from: text('The store that owns the data, as SERVICE.ROLE or a store.'),
    to: text('The store that is kept in step.'),
    by: word('What carries it; application: the service writes both.', carriers),
    data: names('The data it carries.'),
  },
};

const stream: ObjectShape = {
  kind: 'object',
  about: 'A topic, subject or queue.',
  required: ['name', 'store'],
  fields: {
    name: text('Its name.'),
    store: text('The log or queue that holds it, as SERVICE.ROLE or a store.'),
    key: text('What orders its messages: those of one key come in order.'),
    partitions: { kind: 'number', about: 'Partitions.', min: 1, max: 1e6, integer: true },
    data: names('The data whose changes it carries.'),
    order: word('What order its readers need.', ['total', 'key', 'none']),
    retention: { kind: 'duration', about: 'How long it keeps messages.' },
    consumers: names('The services that read it.'),
  },
};

/** Everything a topology file may say. */
export const topologyShape: ObjectShape = {
  kind: 'object',
  about: 'Services and their stores.',
  required: ['services'],
  fields: {
    name: text('The system.'),
    services: list('The services.', service, TOPOLOGY_PARTS_MAX),
    stores: {
      kind: 'map',
      about: 'Stores by name, where several use one.',
      of: store,
      max: TOPOLOGY_PARTS_MAX,
    },
    data: {
      kind: 'map',
      about: 'Data by name, each with one owner.',
      of: data,
      max: TOPOLOGY_PARTS_MAX,
    },
    flows: list('Ways of data between stores.', flow, TOPOLOGY_PARTS_MAX),
    streams: list('Topics, subjects and queues.', stream, TOPOLOGY_PARTS_MAX),
    severities: {
      kind: 'map',
      about: 'How bad a rule’s findings are here.',
      of: word('a severity', ['error', 'warning', 'note', 'off']),
      max: 100,
    },
    ignore: list(
      'Findings that are known and accepted.',
      {
        kind: 'object',
        about: 'A finding that is accepted.',
        required: ['rule', 'reason'],
        fields: {
          rule: text('The rule.'),
          at: text('The subject, as the finding names it; every subject otherwise.'),
          reason: text('Why it is right here.'),
        },
      },
      TOPOLOGY_PARTS_MAX,
    ),
  },
};
