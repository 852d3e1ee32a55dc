import type { OpenApp } from 'tallystick';
import {
  gather,
  guard,
  loader,
  optional,
  required,
  type Gathered,
  type Part,
} from 'tallystick/compose';
import { clientOf } from './shop.ts';

interface Product {
  readonly id: string;
  readonly name: string;
}

// Once for the process: what a guard learns of its store, it learns from all pages.
const products = guard('products', { within: '80ms', idempotent: true });
const stock = guard('stock', { within: '40ms', idempotent: true });
const reviews = guard('reviews', { within: '40ms', idempotent: true });
const prices = guard('prices', { within: '80ms', idempotent: true });
const recommendations = guard('recommendations', { within: '30ms', idempotent: true, limit: 8 });

/** The parts of a product page. */
export type ProductPage = {
  readonly product: Part<Product>;
  readonly price: Part<number>;
  readonly stock: Part<number, undefined>;
  readonly stars: Part<number, undefined>;
  /** Which products: what is missing here is missing in their names. */
  readonly others: Part<readonly string[]>;
  readonly recommendations: Part<readonly string[]>;
};

/**
 * A product page: it cannot do without the product and its price; without stock, reviews and recommendations it can.
 * Recommendations are named by the store of products, all of them in one query.
 */
export async function page(
  app: OpenApp,
  id: string,
  state: { readonly recommendations: 'well' | 'hanging' },
): Promise<Gathered<ProductPage>> {
  const names = loader<string, string>(products, (ids) => {
    const rows = clientOf(app, 'products')
      .prepare(`SELECT id, name FROM products WHERE id IN (${ids.map(() => '?').join()})`)
      .all(...ids) as unknown as readonly Product[];
    return new Map(rows.map((row) => [row.id, row.name]));
  });
  const others = optional(
    () =>
      state.recommendations === 'hanging'
        ? new Promise<readonly string[]>(() => undefined)
        : clientOf(app, 'recommendations')
            .prepare('SELECT other FROM pairs WHERE product = ?')
            .all(id)
            .map(({ other }) => String(other)),
    [],
    { from: recommendations },
  );
  const one = (store: 'stock' | 'prices' | 'reviews', sql: string): number | undefined => {
    const value = clientOf(app, store).prepare(sql).get(id)?.['value'];
    return value === undefined || value === null ? undefined : Number(value);
  };
  return await gather(
    {
      product: required(
        () => {
          const found = clientOf(app, 'products')
            .prepare('SELECT id, name FROM products WHERE id = ?')
            .get(id) as Product | undefined;
          if (found === undefined) throw new Error(`there is no product ${id}`);
          return found;
        },
        { from: products },
      ),
      price: required(
        () => one('prices', 'SELECT cents AS value FROM prices WHERE product = ?') ?? 0,
        { from: prices },
      ),
      stock: optional(
        () => one('stock', 'SELECT pieces AS value FROM stock WHERE product = ?') ?? 0,
        undefined,
        { from: stock },
      ),
      stars: optional(
        () => one('reviews', 'SELECT avg(stars) AS value FROM reviews WHERE product = ?') ?? 0,
        undefined,
        { from: reviews },
      ),
      others,
      recommendations: optional(
        async ({ needs }) =>
          (await names.loadMany(needs.others)).filter((name) => name !== undefined),
        [],
        { needs: { others } },
      ),
    },
    { within: '150ms' },
  );
}
