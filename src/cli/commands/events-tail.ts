import type { EventPage, StoredEvent } from '../../ports/events.ts';
import type { Command } from '../command.ts';
import { dataText, eventJson, momentText, storeOption, versionOf, withEvents } from '../events.ts';

/** Events that are shown before those that come, unless told otherwise. */
const LAST_DEFAULT = 10;

/** `tally events tail`: the newest events of a store, and those that come. */
export const eventsTailCommand: Command = {
  usage: 'tally events tail APP.ts [TYPE…]',
  about:
    'Show the newest events of all streams, or those of some types, and then each as it comes, until stopped; a line of JSON each with --json.',
  options: {
    last: { takes: 'N', about: `how many of those that are there (default ${LAST_DEFAULT})` },
    after: { takes: 'POSITION', about: 'instead: everything after this position' },
    once: { about: 'stop after what is there' },
    ...storeOption,
  },
  rest: { min: 0, max: 50 },
  run: async (call, { out, signal }) => {
    const app = await call.app();
    const { last, after, once, store } = call.options;
    const types = call.rest.length === 0 ? {} : { types: call.rest };
    return withEvents(app, typeof store === 'string' ? store : undefined, async (events) => {
      const head = await events.head();
      const from =
        typeof after === 'string'
          ? versionOf(after, '--after')
          : Math.max(
              0,
              head - (typeof last === 'string' ? versionOf(last, '--last') : LAST_DEFAULT),
            );
      const show = (event: StoredEvent): void =>
        out(call.json ? JSON.stringify(eventJson(event)) : lineOf(event));
      const pages: AsyncIterable<EventPage> =
        once === true
          ? events.readAll({ after: from, upTo: head, ...types, signal })
          : events.follow({ after: from, ...types, signal });
      for await (const page of pages) page.events.forEach(show);
      return 0;
    });
  },
};

function lineOf(event: StoredEvent): string {
  const { position, atMs, stream, version, type } = event;
  return `${position}  ${momentText(atMs)}  ${stream} ${version}  ${type}  ${dataText(event)}`;
}
