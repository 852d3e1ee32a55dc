import type { OpenShop } from './app.ts';
import { stockProducts } from './commerce.ts';
import { ordersIn } from './orders/index.ts';
import { Random } from './random.ts';
import type { Product } from './schema.ts';

const makings = ['oak', 'linen', 'brass', 'glass', 'wool', 'clay', 'cork', 'paper'] as const;
const things = [
  ['lamp', 'light'],
  ['lantern', 'light'],
  ['chair', 'furniture'],
  ['shelf', 'furniture'],
  ['mug', 'kitchen'],
  ['teapot', 'kitchen'],
  ['tray', 'kitchen'],
  ['cushion', 'textiles'],
  ['blanket', 'textiles'],
  ['clock', 'decoration'],
  ['frame', 'decoration'],
  ['wreath', 'decoration'],
] as const;

/** What the made-up shop sells: every making of every thing. */
export function makeCatalogue(seed: number): readonly Product[] {
  const random = new Random(seed);
  return makings.flatMap((making, row) =>
    things.map(([thing, category], column) => ({
      sku: `${thing.slice(0, 3).toUpperCase()}-${row}${column.toString(36)}`,
      title: `${making} ${thing}`,
      category,
      priceMilli: 10 * (100 + random.below(9_900)),
    })),
  );
}

/** Puts the catalogue on the shelves; what is there already stays as it is. */
export async function openShelves(shop: OpenShop, products: readonly Product[]): Promise<void> {
  await shop.write('orders', (tx) => stockProducts(ordersIn(tx), products));
}

/** Bytes of one part of an image: small ones, so that even these little images have several. */
const PART_BYTES = 8 * 1024;

/**
 * Uploads the images that are not there yet, in parts: an image is seen whole or not at all, whenever
 * the process dies.
 */
export async function uploadImages(
  shop: OpenShop,
  products: readonly Product[],
  signal: AbortSignal,
): Promise<void> {
  const { objects } = shop.stores.objects;
  for (const product of products) {
    const key = `images/${product.sku}.svg`;
    if (signal.aborted || (await objects.head(key)) !== undefined) continue;
    const upload = await objects.createMultipart(key);
    const bytes = Buffer.from(drawing(product), 'utf8');
    for (let at = 0, part = 1; at < bytes.length; at += PART_BYTES, part += 1)
      await upload.part(part, bytes.subarray(at, at + PART_BYTES));
    await upload.complete({ metadata: { 'content-type': 'image/svg+xml' } });
  }
}

function drawing({ sku, title, priceMilli }: Product): string {
  const random = new Random(priceMilli);
  const dots = Array.from({ length: 250 }, () => {
    const [x, y, hue] = [random.below(400), random.below(400), random.below(360)];
    return `<circle cx="${x}" cy="${y}" r="9" fill="hsl(${hue} 60% 60%)"/>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400"><title>${title} ${sku}</title>${dots.join('\n')}</svg>`;
}
