import type { Key, Scalar } from '../../../core/row.ts';

/**
 * The key of the object that holds a row: `target/part/part`. Texts and numbers stand as they are
 * (`images/sku-1`, `receipts/1001`), so that an application finds its objects; `/` and `%` in them
 * are escaped, and what has no plain text carries a tag behind a `%`. The number 1 and the text `1`
 * share an object key: the sink compares the row's own key, which the object keeps, and refuses the
 * second instead of mixing them.
 */
export function objectKeyOf(target: string, key: Key): string {
  return `${targetPrefix(target)}${key.map(partText).join('/')}`;
}

/** What the keys of all rows of a target start with. */
export function targetPrefix(target: string): string {
  return `${target}/`;
}

function partText(part: Scalar): string {
  switch (typeof part) {
    case 'string':
      return part === '' ? '%e' : part.replaceAll('%', '%25').replaceAll('/', '%2f');
    case 'number':
      return Object.is(part, -0) ? '-0' : String(part);
    case 'bigint':
      return part.toString();
    case 'boolean':
      return part ? '%t' : '%f';
    default:
      return part === null ? '%n' : `%b${Buffer.from(part).toString('hex')}`;
  }
}
