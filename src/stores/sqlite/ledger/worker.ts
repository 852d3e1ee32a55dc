import { parentPort, workerData } from 'node:worker_threads';
import { must, unreachable } from '../../../core/errors.ts';
import { armFromEnvironment } from '../../../observe/arm.ts';
import { LedgerEngine } from './engine.ts';
import { failureMessage } from '../failures.ts';
import type { Answer, Read, ReadAnswer, Request, Step, WorkerSetup } from './messages.ts';

// The ledger's thread. It exists because SQLite is called synchronously: here a slow fsync or a
// locked file stops nobody but those who wait for the ledger. What it cannot answer (a rollback that
// fails, a bug) ends it; the other side then tells everybody who waits.

const port = must(parentPort, 'the port of the ledger thread');
const setup = workerData as WorkerSetup;

armFromEnvironment(process.env);
const engine = open();
if (engine !== undefined) {
  port.on('message', (request: Request) => {
    if (request === 'close') {
      engine.close();
      port.close();
      return;
    }
    send({
      kind: 'answered',
      steps: commit(engine, request.steps),
      reads: request.reads.map((read) => answer(engine, read)),
    });
  });
  send({ kind: 'opened' });
}

function open(): LedgerEngine | undefined {
  try {
    return new LedgerEngine(setup);
  } catch (error) {
    send({ kind: 'refused', reason: failureMessage(error, setup.where) });
    return undefined;
  }
}

function commit(
  ledger: LedgerEngine,
  steps: readonly Step[],
): Extract<Answer, { readonly kind: 'answered' }>['steps'] {
  if (steps.length === 0) return [];
  try {
    return ledger.flush(steps);
  } catch (error) {
    return failureMessage(error, setup.where);
  }
}

function answer(
  ledger: LedgerEngine,
  read: Read,
): Extract<Answer, { readonly kind: 'answered' }>['reads'][number] {
  try {
    return { answer: execute(ledger, read) };
  } catch (error) {
    return { reason: failureMessage(error, setup.where) };
  }
}

function execute(ledger: LedgerEngine, read: Read): ReadAnswer {
  switch (read.kind) {
    case 'get':
      return ledger.get(read.space, read.key);
    case 'list':
      return ledger.list(read.space, read.options);
    case 'leases':
      return ledger.leases();
    default:
      return unreachable(read);
  }
}

function send(message: Answer): void {
  port.postMessage(message);
}
