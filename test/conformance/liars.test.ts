import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { effectsConformance } from '../../src/conformance/effects.ts';
import type { SuiteRunner } from '../../src/conformance/harness.ts';
import { eventsConformance } from '../../src/conformance/events.ts';
import { keyValueConformance } from '../../src/conformance/key-value.ts';
import { leaseConformance } from '../../src/conformance/leases.ts';
import { ledgerConformance } from '../../src/conformance/ledger.ts';
import { logConformance } from '../../src/conformance/log.ts';
import { objectsConformance } from '../../src/conformance/objects.ts';
import { scanConformance } from '../../src/conformance/scan.ts';
import { sinkConformance } from '../../src/conformance/sink.ts';
import { sourceConformance } from '../../src/conformance/source.ts';
import {
  eventsLiars,
  effectsLiars,
  keyValueLiars,
  leaseLiars,
  ledgerLiars,
  logLiars,
  objectsLiars,
  scanLiars,
  sinkLiars,
  sourceLiars,
  type Liar,
} from '../../src/faults/liars.ts';
import type { Effects } from '../../src/ports/effects.ts';
import type { Ledger } from '../../src/ports/ledger.ts';
import type { Log } from '../../src/ports/log.ts';
import { createMemoryState, memoryLedger, memoryLog } from '../../src/stores/memory/index.ts';
import { memoryEventSupports } from '../../src/stores/memory/events.ts';
import { memoryKeyValueSupports } from '../../src/stores/memory/key-value.ts';
import { memoryObjectsSupports } from '../../src/stores/memory/objects.ts';
import {
  memoryEvents,
  memoryKeyValue,
  memoryObjects,
  memoryScan,
  memorySink,
  memorySource,
  memorySourceSuite,
  wholeSink,
} from './memory-subjects.ts';
import { sqliteEffects, sqliteSubject } from './sqlite-effects.ts';

type Case = { readonly name: string; readonly run: () => Promise<void> };

/** A subject whose one port is what `wrap` makes of it, on every connection. */
function wrapped<Name extends string, Port, Subject extends { readonly [name in Name]: Port }>(
  subject: Subject,
  name: Name,
  wrap: (port: Port) => Port,
): Subject {
  let honest: Port | undefined;
  let lying: Port | undefined;
  return new Proxy(subject, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== name) return value;
      // Wrapped once for each connection: a liar may remember.
      if (value !== honest || lying === undefined) {
        honest = value as Port;
        lying = wrap(honest);
      }
      return lying;
    },
  });
}

/** Each liar fails the case that it names, which the honest store passes. */
function catches<Port>(
  port: string,
  liars: Readonly<Record<string, Liar<Port>>>,
  register: (runner: SuiteRunner, wrap: (honest: Port) => Port) => void,
): void {
  const named = (prefix: string, wrap: (honest: Port) => Port): Case => {
    const cases: Case[] = [];
    register({ test: (name, run) => cases.push({ name, run }) }, wrap);
    const found = cases.find(({ name }) => name === prefix || name.startsWith(`${prefix} `));
    assert.ok(found, `the suite has no case ${prefix}`);
    return found;
  };
  describe(`the suite of the ${port}`, () => {
    for (const { lie, caughtBy, wrap } of Object.values(liars))
      test(`catches one that ${lie} (${caughtBy})`, async () => {
        await named(caughtBy, (honest) => honest).run();
        await assert.rejects(named(caughtBy, wrap).run(), 'the liar passes');
      });
  });
}

catches('sink', sinkLiars, ({ test: add }, wrap) =>
  sinkConformance({
    test: add,
    supports: wholeSink,
    open: async () => wrapped(await memorySink(wholeSink), 'sink', wrap),
  }),
);

catches('source', sourceLiars, ({ test: add }, wrap) =>
  sourceConformance({
    ...memorySourceSuite,
    test: add,
    patienceMs: 200,
    open: async () => wrapped(await memorySource(), 'source', wrap),
  }),
);

catches('key-value store', keyValueLiars, ({ test: add }, wrap) =>
  keyValueConformance({
    test: add,
    supports: memoryKeyValueSupports,
    open: async () => wrapped(await memoryKeyValue(), 'keyValue', wrap),
  }),
);

catches('event store', eventsLiars, ({ test: add }, wrap) =>
  eventsConformance({
    test: add,
    supports: memoryEventSupports,
    open: async () => wrapped(await memoryEvents(), 'events', wrap),
  }),
);

catches<Effects<unknown, unknown>>('effects', effectsLiars, ({ test: add }, wrap) =>
  effectsConformance({
    test: add,
    supports: sqliteEffects,
    open: async () => wrapped(await sqliteSubject(), 'effects', wrap),
  }),
);

catches('objects', objectsLiars, ({ test: add }, wrap) =>
  objectsConformance({
    test: add,
    supports: memoryObjectsSupports,
    open: async () => wrapped(await memoryObjects(), 'objects', wrap),
  }),
);

catches('scan', scanLiars, ({ test: add }, wrap) =>
  scanConformance({ test: add, open: async () => wrapped(await memoryScan(), 'scan', wrap) }),
);

/** Opens and opens again on one state. */
function restarting<Port extends { close(): Promise<void> }>(
  make: (state: ReturnType<typeof createMemoryState>) => Port,
): { open: () => Promise<Port>; reopen: (closed: Port) => Promise<Port> } {
  const states = new WeakMap<Port, ReturnType<typeof createMemoryState>>();
  const on = (state: ReturnType<typeof createMemoryState>): Port => {
    const port = make(state);
    states.set(port, state);
    return port;
  };
  return {
    open: async () => on(createMemoryState()),
    reopen: async (closed) => {
      await closed.close();
      return on(states.get(closed) ?? createMemoryState());
    },
  };
}

catches<Log>('log', logLiars, ({ test: add }, wrap) =>
  logConformance({ test: add, ...restarting((state) => wrap(memoryLog({ state }))) }),
);

catches<Ledger>('ledger', ledgerLiars, ({ test: add }, wrap) =>
  ledgerConformance({ test: add, ...restarting((state) => wrap(memoryLedger({ state }))) }),
);

catches<Ledger>('leases', leaseLiars, ({ test: add }, wrap) =>
  leaseConformance({ test: add, ...restarting((state) => wrap(memoryLedger({ state }))) }),
);
