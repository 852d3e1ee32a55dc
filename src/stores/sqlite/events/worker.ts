import { parentPort, workerData } from 'node:worker_threads';
import { must } from '../../../core/errors.ts';
import { armFromEnvironment } from '../../../observe/arm.ts';
import { failureMessage } from '../failures.ts';
import { EventEngine, type EngineSetup } from './engine.ts';
import type { Answer, Flush } from './messages.ts';

// The thread of appends: here a slow fsync or a file that somebody else has locked stops nobody but those who append.

const port = must(parentPort, 'the port of the thread of appends');
const setup = workerData as EngineSetup;

armFromEnvironment(process.env);
const engine = open();
if (engine !== undefined)
  port.on('message', (request: Flush | 'close') => {
    if (request !== 'close') {
      send(flush(engine, request));
      return;
    }
    engine.close();
    port.close();
  });

function open(): EventEngine | undefined {
  try {
    return new EventEngine(setup);
  } catch (error) {
    send({ kind: 'refused', reason: failureMessage(error, setup.file) });
    return undefined;
  }
}

function flush(events: EventEngine, { requests, nowMs }: Flush): Answer {
  try {
    return { kind: 'answered', outcomes: events.flush(requests, nowMs) };
  } catch (error) {
    return { kind: 'answered', outcomes: failureMessage(error, setup.file) };
  }
}

function send(answer: Answer): void {
  port.postMessage(answer);
}
