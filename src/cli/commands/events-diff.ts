import { differences } from '../../core/differences.ts';
import { TallyError, unreachable } from '../../core/errors.ts';
import { dryRun, type StreamDifference } from '../../patterns/events/history.ts';
import { replay } from '../../patterns/events/replay.ts';
import type { Call, Command, Terminal } from '../command.ts';
import {
  deciderNamed,
  deciderOf,
  plain,
  shown,
  undeclared,
  versionOf,
  withEvents,
} from '../events.ts';
import { loadApp } from '../load.ts';

/** Streams that a dry run shows; it counts all of them. */
const STREAMS_SHOWN = 20;

/** `tally events diff`: between two versions of an aggregate, or between two versions of its decider. */
export const eventsDiffCommand: Command = {
  usage: 'tally events diff APP.ts STREAM|CATEGORY',
  about:
    'Show what changed in an aggregate between two versions; with --against, what the deciders of another file would make of all history of a category, without writing anything. Exits with 1 if there is a difference.',
  options: {
    from: { takes: 'N', about: 'the earlier version (default 0)' },
    to: { takes: 'N', about: 'the later version (default: the newest)' },
    against: {
      takes: 'OTHER.ts',
      about: 'a file that declares the application with the changed decider',
    },
  },
  rest: { min: 1, max: 1 },
  run: async (call, terminal) => {
    const { against, from, to } = call.options;
    if (typeof against !== 'string') return betweenVersions(call, terminal);
    if (from !== undefined || to !== undefined)
      throw new TallyError('CONFIG_INVALID', {
        what: '--against compares whole streams, and --from and --to two versions of one',
        mend: 'leave one of the two out',
      });
    return betweenDeciders(call, against, terminal);
  },
};

async function betweenVersions(call: Call, { out, signal }: Terminal): Promise<number> {
  const app = await call.app();
  const stream = String(call.rest[0]);
  const place = deciderOf(app, stream);
  if (place === undefined) throw undeclared(stream);
  const { from, to } = call.options;
  return withEvents(app, place.store, async (events) => {
    const toVersion = (given: unknown, option: string): { toVersion: number } | object =>
      typeof given === 'string' ? { toVersion: versionOf(given, option) } : {};
    const earlier = await replay(place.decider, events, stream, {
      toVersion: typeof from === 'string' ? versionOf(from, '--from') : 0,
      signal,
    });
    const later = await replay(place.decider, events, stream, { ...toVersion(to, '--to'), signal });
    const found = differences(earlier.state, later.state);
    if (call.json)
      out(
        JSON.stringify({
          stream,
          from: earlier.version,
          to: later.version,
          differences: found.map(({ path, before, after }) => ({
            path,
            before: plain(before),
            after: plain(after),
          })),
        }),
      );
    else {
      out(`${stream} from version ${earlier.version} to ${later.version}:`);
      out(found.length === 0 ? '  no difference' : linesOf(earlier.state, later.state));
    }
    return found.length === 0 ? 0 : 1;
  });
}

async function betweenDeciders(
  call: Call,
  against: string,
  { out, say, signal }: Terminal,
): Promise<number> {
  const app = await call.app();
  const category = String(call.rest[0]);
  const { decider: present, store } = deciderNamed(app, category);
  const { decider: changed } = deciderNamed(await loadApp(against), category);
  return withEvents(app, store, async (events) => {
    let count = 0;
    const run = await dryRun({ events, present, changed, signal }, (difference) => {
      count += 1;
      if (call.json) out(JSON.stringify(jsonOf(difference)));
      else if (count <= STREAMS_SHOWN) out(textOf(difference));
    });
    if (call.json) out(JSON.stringify(run));
    else {
      if (count > STREAMS_SHOWN) out(`… and ${count - STREAMS_SHOWN} more streams`);
      out(
        `${run.different} of ${run.streams} streams differ; ${run.events} events were read, nothing was written`,
      );
    }
    if (run.streams === 0) say(`there are no streams of ${category}`);
    return run.different === 0 ? 0 : 1;
  });
}

function jsonOf(difference: StreamDifference): object {
  if (difference.kind === 'unreadable') return difference;
  return { ...difference, present: plain(difference.present), changed: plain(difference.changed) };
}

function textOf(difference: StreamDifference): string {
  const { stream, version } = difference;
  switch (difference.kind) {
    case 'unreadable':
      return `${stream}: the ${difference.by} decider cannot read event ${version}: ${difference.message}`;
    case 'changed':
      return `${stream}: differs since version ${difference.since} of ${version}\n${linesOf(difference.present, difference.changed)}`;
    default:
      return unreachable(difference);
  }
}

function linesOf(before: unknown, after: unknown): string {
  return differences(before, after)
    .map(
      (found) =>
        `  ${found.path === '' ? 'state' : found.path}: ${shown(found.before)} → ${shown(found.after)}`,
    )
    .join('\n');
}
