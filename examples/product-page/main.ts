import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'tallystick';
import { page } from './page.ts';
import { fill, shop } from './shop.ts';

// One product page out of five embedded stores, twice: all well, and with a store that hangs.

const dir = await mkdtemp(join(tmpdir(), 'tally-product-page-'));
try {
  await using running = await open(shop(dir), { run: false });
  await fill(running);
  for (const recommendations of ['well', 'hanging'] as const) {
    const { kind, tookMs, values, parts } = await page(running, 'lamp-1', { recommendations });
    console.log(`recommendations are ${recommendations}: a ${kind} page`);
    console.log(`  ${values.product.name}, ${values.stock ?? 'unknown'} in stock`);
    console.log(`  bought with it: ${values.recommendations.join(', ') || 'nothing to show'}`);
    for (const [name, part] of Object.entries(parts))
      if (part.kind !== 'value') console.log(`  ${name}: ${part.kind}, ${part.reason.kind}`);
    console.error(`  in ${Math.round(tookMs)} ms`);
  }
} finally {
  await rm(dir, { recursive: true, force: true });
}
