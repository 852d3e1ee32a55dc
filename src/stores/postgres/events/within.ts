import { must, TallyError } from '../../../core/errors.ts';
import {
  isAsExpected,
  isRepeated,
  streamConflict,
  type AppendTexts,
} from '../../../ports/append.ts';
import type { Placed } from '../../../ports/events.ts';
import type { Queryable } from '../database.ts';
import { callStatement, callValues, numbersOf, type CallRow } from './call.ts';
import { eventsOfIds, repeatedOf } from './rows.ts';

/** Where a transaction is, and in which schema its events are. */
export interface Within {
  readonly schema: string;
  readonly where: string;
}

/** Appends within a transaction. Whatever it throws by itself leaves the transaction as it was. */
export async function appendWithin(
  tx: Queryable,
  { schema, where }: Within,
  texts: AppendTexts,
  ids: readonly string[] = texts.givenIds,
): Promise<readonly Placed[]> {
  const { appends } = texts;
  const [answer] = await tx.query<CallRow>(
    callStatement(schema, 'events_append_in_1'),
    callValues({
      requests: [{ texts, resolve: ignore, reject: ignore }],
      streams: appends.map(({ stream }) => stream),
      checks: appends.flatMap(({ expected }, index) =>
        expected === 'any' ? [] : [{ stream: index + 1, rel: 0, expected }],
      ),
      places: appends.map((append, index) => ({ append, stream: index + 1, rel: 0 })),
      ids,
    }),
  );
  const row = must(answer, 'the answer of the event store');
  if (row.outcome === 'known') {
    const known = await eventsOfIds(tx, schema, ids);
    if (isRepeated(where, appends, known)) return repeatedOf(texts, known, true).map(placedOf);
    throw collided(where);
  }
  if (row.outcome === 'collided') throw collided(where);
  const versions = numbersOf(row.versions);
  const wrong = appends.findIndex(
    ({ expected }, index) => !isAsExpected(expected, versions[index] ?? 0),
  );
  if (row.outcome !== 'done' || wrong >= 0)
    throw streamConflict(where, must(appends[wrong], 'the stream'), versions[wrong] ?? 0);
  return appends.map(({ stream, events }, index) => {
    const before = versions[index] ?? 0;
    return {
      stream,
      firstVersion: before + 1,
      version: before + events.length,
      ids: events.map(({ id }) => id),
      repeated: false,
    };
  });
}

function placedOf({ stream, firstVersion, version, ids, repeated }: Placed): Placed {
  return { stream, firstVersion, version, ids, repeated };
}

function collided(where: string): TallyError {
  return new TallyError('STORE_BUSY', {
    what: 'another transaction has appended what this one cannot see yet',
    where,
    mend: 'roll back and do the transaction again; with the isolation READ COMMITTED it happens only where two transactions give one id to events of different streams',
  });
}

function ignore(): void {
  // A call on its own is answered by its own promise.
}
