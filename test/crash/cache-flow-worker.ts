/**
 * The process that the sweep of invalidations kills: an application whose cache hears of what is written around it. It reads
 * every key after each write, so that there always is something that could be stale.
 */
import { open } from 'tallystick';
import { armFromEnvironment } from '../../src/observe/arm.ts';
import { cacheFlowApp, embeddedWorld } from '../support/cache-flow.ts';

const [dir = '', writesText = '0', keysText = '0'] = process.argv.slice(2);
const ids = Array.from({ length: Number(keysText) }, (_, index) => String(index));

armFromEnvironment(process.env);
const world = await embeddedWorld(dir);
await using app = await open(cacheFlowApp(dir, world));
const { names } = app.caches;
for (let write = 1; write <= Number(writesText); write += 1) {
  await world.run(`UPDATE items SET name = 'w${write}' WHERE id = ${write % ids.length}`);
  await names.getMany(ids);
  // Some are told one by one, and some together.
  if (write % 5 === 0) await app.barrier('names', { maxStale: 0, within: '30s' });
}
