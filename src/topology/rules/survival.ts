import { findSystem } from '../../advisor/catalogue.ts';
import type { Hit, Rule } from '../finding.ts';
import { holdings, syncCalls } from '../graph.ts';

/** A restore that was tried longer ago than this was tried with another schema and another size. */
const RESTORE_AGE_MAX_DAYS = 90;
const DAY_MS = 86_400_000;

/** What is there once. */
export const singlePointOfFailure: Rule = {
  id: 'single-point-of-failure',
  severity: 'error',
  about: 'Something that others need exists once.',
  remedy: 'run a second copy that takes over by itself, and practise it',
  cost: 'its restart is an outage; its disk is the data',
  *find(topology): Iterable<Hit> {
    const held = holdings(topology);
    for (const store of topology.stores.values()) {
      const { copies, configuration } = store.declaration;
      const once =
        copies === 1 ||
        (copies === undefined &&
          configuration !== undefined &&
          findSystem(store.system)?.configurations.find(({ id }) => id === configuration)?.survives
            ?.value === 0);
      const use = store.users[0];
      if (!once || use === undefined) continue;
      const source = held.has(store.id) || store.users.some(({ role }) => role === 'primary');
      yield {
        subject: store.id,
        path: use.path,
        why: `${store.id} (${store.title}) has one copy`,
        ...(source ? {} : { severity: 'warning' as const }),
      };
    }
    const callers = new Map<string, string[]>();
    for (const [from, targets] of syncCalls(topology))
      for (const to of targets) callers.set(to, [...(callers.get(to) ?? []), from]);
    for (const service of topology.services.values()) {
      const waiting = callers.get(service.name) ?? [];
      if (service.instances !== 1 || waiting.length === 0) continue;
      yield {
        subject: service.name,
        path: service.path,
        why: `${service.name} runs once, and ${waiting.join(', ')} wait${waiting.length === 1 ? 's' : ''} for it`,
        severity: 'warning',
      };
    }
  },
};

/** A backup that nobody has seen. */
export const noRestoreEvidence: Rule = {
  id: 'no-restore-evidence',
  severity: 'warning',
  about: 'Nothing shows that the source of truth can be restored.',
  remedy: `restore a backup beside the store, compare it, and write down the day (restoreTested), every ${RESTORE_AGE_MAX_DAYS} days`,
  cost: 'the backup that cannot be read is found on the day it is needed',
  *find(topology, { today }): Iterable<Hit> {
    const held = holdings(topology);
    for (const store of topology.stores.values()) {
      const primary = store.users.find(({ role }) => role === 'primary');
      if (!held.has(store.id) && primary === undefined) continue;
      const { restoreTested, path } = store.declaration;
      if (restoreTested === undefined)
        yield {
          subject: store.id,
          path: primary?.path ?? path,
          why: `nothing says when ${store.id} (${store.title}) was last restored`,
        };
      else {
        const age = (Date.parse(today) - Date.parse(restoreTested)) / DAY_MS;
        if (age > RESTORE_AGE_MAX_DAYS)
          yield {
            subject: store.id,
            path: primary?.path ?? path,
            why: `${store.id} (${store.title}) was last restored ${Math.floor(age)} days ago`,
            severity: 'note',
          };
      }
    }
  },
};
