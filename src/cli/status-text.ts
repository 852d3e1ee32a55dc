import type { AppStatus, FlowStatus, LaneStatus } from '../app/status.ts';
import { unreachable } from '../core/errors.ts';
import type { WorkerState } from '../runtime/supervisor.ts';
import { table } from './table.ts';

/** A status as one screen of text. */
export function statusText(status: AppStatus): string {
  const flows = [
    ['boundary', 'state', 'rate/s', 'lag p50 ms', 'p99', 'behind', 'applied', 'older', 'parked'],
    ...status.flows.map((flow) => [
      `${flow.from} → ${flow.flow} → ${flow.to}`,
      stateText(flow),
      flow.ratePerSecond,
      flow.recentLagMs.p50 ?? '-',
      flow.recentLagMs.p99 ?? '-',
      flow.behind,
      flow.applied,
      flow.older,
      flow.parked,
    ]),
  ];
  const lanes = [
    ['captured store', 'state', 'changes', 'head', 'log bytes', 'kept at source'],
    ...status.lanes.map((lane) => [
      lane.lane,
      stateText(lane),
      lane.captured,
      lane.head === undefined ? '-' : `${lane.head.epoch}.${lane.head.offset}`,
      lane.log.bytes,
      lane.retained?.bytes ?? '-',
    ]),
  ];
  const notes = [
    ...[...status.lanes, ...status.flows].flatMap((part) =>
      noteOf('lane' in part ? part.lane : part.flow, part.worker),
    ),
    ...status.lanes.flatMap(({ lane, retained }) =>
      retained?.risk === undefined ? [] : [`${lane}: ${retained.risk}`],
    ),
  ];
  return [table(lanes), '', table(flows), ...(notes.length === 0 ? [] : ['', ...notes])].join('\n');
}

function stateText(part: LaneStatus | FlowStatus): string {
  return part.worker.kind === 'running' ? part.state : part.worker.kind;
}

/** What a person should know about a worker that does not run. */
function noteOf(name: string, worker: WorkerState): readonly string[] {
  switch (worker.kind) {
    case 'running':
    case 'stopped':
      return [];
    case 'standby':
      return [`${name}: standing by; ${worker.message}`];
    case 'retrying':
      return [
        `${name}: try ${worker.attempt} failed with ${worker.code}; again in ${worker.retryInMs} ms: ${worker.message}`,
      ];
    case 'failed':
      return [`${name}: stopped with ${worker.code}: ${worker.message}`];
    default:
      return unreachable(worker);
  }
}
