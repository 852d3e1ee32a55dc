import { TallyError } from '../../core/errors.ts';
import { checkNumber, suggest } from '../../core/options.ts';
import type { Key, Row } from '../../core/row.ts';
import type { Scan, ScanOptions } from '../../ports/scan.ts';
import { visibleTexts } from './client.ts';
import type { Connection } from './state.ts';
import { compareKeys, inKeyOrder } from './tables.ts';

/** Reads targets as their readers see them, and tables, in key order; each page is one state. */
export class MemoryScan implements Scan {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async *scan(
    target: string,
    options: ScanOptions,
  ): AsyncIterable<readonly { readonly key: Key; readonly row: Row }[]> {
    const rowsMax = checkNumber(options.rowsMax, 'scan.rowsMax', { min: 1, integer: true });
    let after = options.after;
    for (;;) {
      if (options.signal?.aborted === true)
        throw new TallyError('ABORTED', {
          what: 'the scan was given up',
          where: `target ${target}`,
        });
      const from = after;
      const page = await this.#unit(target, (rows) =>
        rows
          .filter(({ key }) => from === undefined || compareKeys(key, from) > 0)
          .slice(0, rowsMax),
      );
      if (page.length > 0) yield page;
      if (page.length < rowsMax) return;
      after = page.at(-1)?.key;
    }
  }

  async count(target: string): Promise<number> {
    return this.#unit(target, (rows) => rows.length);
  }

  #unit<Result>(
    target: string,
    action: (rows: readonly { readonly key: Key; readonly row: Row }[]) => Result,
  ): Promise<Result> {
    const { state } = this.#connection;
    return this.#connection.unit({ port: 'scan', operation: 'read', size: 0 }, () => {
      const texts = visibleTexts(state, target);
      if (texts === undefined) {
        const targets = [...state.flows.values()].flatMap(({ generations }) =>
          [...generations.values()].flatMap(({ targets: names }) => [...names.keys()]),
        );
        const nearest = suggest(target, [...state.source.tables.keys(), ...targets]);
        throw new TallyError('TABLE_UNKNOWN', {
          what: `there is no target or table ${target}`,
          where: this.#connection.name,
          mend: nearest === undefined ? 'run the flow that fills it' : `did you mean ${nearest}?`,
        });
      }
      return action(inKeyOrder(texts));
    });
  }
}
