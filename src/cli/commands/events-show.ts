import { steps } from '../../patterns/events/history.ts';
import { replay } from '../../patterns/events/replay.ts';
import type { StoredEvent } from '../../ports/events.ts';
import type { Command } from '../command.ts';
import { differences } from '../../core/differences.ts';
import {
  dataText,
  deciderOf,
  eventJson,
  momentText,
  plain,
  rangeOf,
  shown,
  storeOf,
  storeOption,
  undeclared,
  untilOptions,
  versionOf,
  withEvents,
} from '../events.ts';
import { table } from '../table.ts';

/** Events of a long stream that are shown unless told otherwise: a screen full. */
const EVENTS_SHOWN = 20;

/** `tally events show`: a stream and the state of its aggregate, now or then. */
export const eventsShowCommand: Command = {
  usage: 'tally events show APP.ts STREAM',
  about:
    'Show the last events of a stream, and the state of its aggregate, now or as of a version or time.',
  options: {
    ...untilOptions,
    last: { takes: 'N', about: `how many events (default ${EVENTS_SHOWN})` },
    ...storeOption,
  },
  rest: { min: 1, max: 1 },
  run: async (call, { out, signal }) => {
    const app = await call.app();
    const stream = String(call.rest[0]);
    const last =
      typeof call.options['last'] === 'string'
        ? versionOf(call.options['last'], '--last')
        : EVENTS_SHOWN;
    const range = rangeOf(call, signal);
    const place = deciderOf(app, stream);
    return withEvents(app, storeOf(call, place), async (events) => {
      const replayed =
        place === undefined ? undefined : await replay(place.decider, events, stream, range);
      const version = replayed?.version ?? range.toVersion ?? (await events.version(stream));
      const found: StoredEvent[] = [];
      const newest = events.readStream(stream, {
        to: version,
        direction: 'backward',
        limit: last,
        signal,
      });
      for await (const page of newest) found.unshift(...page.toReversed());
      const until = found.filter(({ atMs }) => atMs <= (range.toMs ?? Infinity));
      if (call.json)
        out(
          JSON.stringify({
            stream,
            version,
            events: until.map(eventJson),
            ...(replayed === undefined ? {} : { state: plain(replayed.state) }),
          }),
        );
      else {
        if (version === 0)
          out(`${stream} has no events${range.toMs === undefined ? '' : ' by then'}`);
        else
          out(
            table([
              ['version', 'at', 'event', 'data'],
              ...until.map((event) => [
                event.version,
                momentText(event.atMs),
                named(event),
                dataText(event),
              ]),
            ]),
          );
        if (replayed !== undefined)
          out(`\nstate as of version ${version}:\n${shown(replayed.state)}`);
      }
      return version === 0 ? 1 : 0;
    });
  },
};

/** `tally events replay`: what each event made of the state. */
export const eventsReplayCommand: Command = {
  usage: 'tally events replay APP.ts STREAM',
  about:
    'Show what each event of a stream changed in the state of its aggregate, one after the other.',
  options: untilOptions,
  rest: { min: 1, max: 1 },
  run: async (call, { out, signal }) => {
    const app = await call.app();
    const stream = String(call.rest[0]);
    const place = deciderOf(app, stream);
    if (place === undefined) throw undeclared(stream);
    return withEvents(app, place.store, async (events) => {
      let count = 0;
      for await (const { stored, before, after } of steps(
        place.decider,
        events,
        stream,
        rangeOf(call, signal),
      )) {
        count += 1;
        if (call.json) {
          out(JSON.stringify({ event: eventJson(stored), state: plain(after) }));
          continue;
        }
        out(`${stored.version}  ${momentText(stored.atMs)}  ${named(stored)}  ${dataText(stored)}`);
        for (const change of differences(before, after))
          out(
            `     ${change.path === '' ? 'state' : change.path}: ${shown(change.before)} → ${shown(change.after)}`,
          );
      }
      if (count === 0 && !call.json) out(`${stream} has no events`);
      return count === 0 ? 1 : 0;
    });
  },
};

function named({ type, schemaVersion }: StoredEvent): string {
  return schemaVersion === 1 ? type : `${type} v${schemaVersion}`;
}
