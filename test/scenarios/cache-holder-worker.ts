import type { StoreDefinition } from '../../src/ports/store.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { systemRandom } from '../../src/runtime/random.ts';
import { memcached } from '../../src/stores/memcached/index.ts';
import { sqlite } from '../../src/stores/sqlite/index.ts';

// cache-holder-worker.ts memcached URL PREFIX | sqlite FILE: takes the lease on `key` and never fills it.

const [system = '', where = '', prefix = ''] = process.argv.slice(2);
const definition: StoreDefinition =
  system === 'sqlite' ? sqlite({ file: where }) : memcached({ url: where, prefix });
const store = await definition.open({ name: 'cache', clock: systemClock, random: systemRandom });
const tier = await store.caches?.open({ name: 'things', payload: 'text', leaseMs: 600_000 });
const [answer] = (await tier?.getMany(['key'], { lease: 'due', early: 0 })) ?? [];
console.log(answer?.lease.kind);
// The connections and the signs of life go on.
setInterval(() => undefined, 1_000);
