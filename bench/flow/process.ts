import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The other end of a child process: answers come in the order of the requests. */
export interface Child<Request, Answer> extends AsyncDisposable {
  ask(request: Request): Promise<Answer>;
  next(): Promise<Answer>;
  /** Waits until the process has ended by itself, after a last word if one is given. */
  end(request?: Request): Promise<void>;
}

/**
 * Where compiled modules are kept between processes. Node keeps TypeScript there with its types stripped:
 * without it each process would load the stripper, 40 MB that the published package does not need.
 */
const COMPILE_CACHE = join(tmpdir(), 'tallystick-bench-cache');

/** Runs a file of this folder in a process of its own. */
export function child<Request extends object, Answer>(
  file: string,
  settings: object,
  nodeOptions: readonly string[] = [],
): Child<Request, Answer> {
  const spawned = fork(new URL(file, import.meta.url), [JSON.stringify(settings)], {
    execArgv: [...process.execArgv, ...nodeOptions],
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const answers: Answer[] = [];
  const waiting: PromiseWithResolvers<Answer>[] = [];
  spawned.on('message', (answer) => {
    const first = waiting.shift();
    if (first === undefined) answers.push(answer as Answer);
    else first.resolve(answer as Answer);
  });
  spawned.on('exit', (code, signal) => {
    for (const { reject } of waiting.splice(0))
      reject(new Error(`${file} ended with ${code ?? signal} before it answered`));
  });
  const next = async (): Promise<Answer> => {
    const answer = answers.shift();
    if (answer !== undefined) return answer;
    if (hasEnded(spawned)) throw new Error(`${file} has ended`);
    const waiter = Promise.withResolvers<Answer>();
    waiting.push(waiter);
    return await waiter.promise;
  };
  return {
    next,
    ask: async (request) => {
      spawned.send(request);
      return await next();
    },
    end: async (request) => {
      const ended = hasEnded(spawned) ? undefined : once(spawned, 'exit');
      if (request !== undefined) spawned.send(request);
      await ended;
    },
    [Symbol.asyncDispose]: async () => {
      if (hasEnded(spawned)) return;
      const ended = once(spawned, 'exit');
      spawned.kill('SIGKILL');
      await ended;
    },
  };
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

/** Says something to the parent of this process, as {@link child} made it. */
export function tellParent(answer: object): void {
  process.send?.(answer);
}

/** Listens to the parent of this process, as {@link child} made it. */
export function onRequest(listener: (request: unknown) => Promise<void>): void {
  process.on('message', (request) => void listener(request));
}
