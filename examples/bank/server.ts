import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isTallyError, TallyError } from 'tallystick';
import { httpStatusOf } from 'tallystick/cqrs';
import { evidenceHeaders, withRequestEvidence } from 'tallystick/http';
import type { OpenBank } from './app.ts';
import { accountsOf, bankCommands, type Clerk } from './commands.ts';
import { bankQueries } from './queries.ts';

/** Bytes of a request's body; no command has as many. */
const BODY_BYTES_MAX = 64 * 1024;

/** A bank that listens. */
export interface BankServer extends AsyncDisposable {
  readonly url: string;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/**
 * Commands and queries over HTTP. `POST /commands/NAME` with an `idempotency-key` answers with the evidence of what it did,
 * in the `baggage` header; a `GET` that sends it back sees the command's effect, whichever store it is answered from.
 */
export async function bankServer(bank: OpenBank): Promise<BankServer> {
  const accounts = accountsOf(bank);
  const commands = bankCommands(bank, accounts);
  const queries = bankQueries(bank, accounts);
  const heads = { heads: () => bank.heads() };

  const post = async (path: string, request: IncomingMessage): Promise<Answer> => {
    const name = /^\/commands\/([\w-]+)$/.exec(path)?.[1] ?? '';
    const key = headerOf(request, 'idempotency-key');
    const actor = clerkOf(request);
    const options = {
      ...(key === undefined ? {} : { key }),
      ...(actor === undefined ? {} : { actor }),
    };
    const { value, repeated } = await commands.dispatch(name, await bodyOf(request), options);
    return { status: 200, body: { value, repeated } };
  };
  const get = async ({ pathname, searchParams }: URL): Promise<Answer> => {
    const [, kind, id, of] = pathname.split('/').map(decodeURIComponent);
    const named = searchParams.get('named');
    if (kind === 'accounts' && id === undefined && named !== null)
      return found(await queries.accountsNamed(named));
    if (kind === 'accounts' && id !== undefined && of === 'paid')
      return found(await queries.paidBy(id));
    if (kind === 'accounts' && id !== undefined) return found(await queries.account(id));
    if (kind === 'turnover') return found(await queries.turnover());
    return { status: 404, body: { error: 'NOT_FOUND' } };
  };

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://bank');
    const work = async (): Promise<void> => {
      const { status, body } = await (
        request.method === 'POST' ? post(url.pathname, request) : get(url)
      ).catch(failed);
      // Taken within the context of the request: it holds what the command has just left behind.
      response.writeHead(status, { 'content-type': 'application/json', ...evidenceHeaders(heads) });
      response.end(JSON.stringify(body));
    };
    void withRequestEvidence(request, work, heads);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function found({
  value,
  model,
  freshness,
}: {
  value: unknown;
  model: string;
  freshness: { kind: string };
}): Answer {
  if (value === undefined) return { status: 404, body: { error: 'NOT_FOUND' } };
  return { status: 200, body: { value, model, freshness: freshness.kind } };
}

function failed(error: unknown): Answer {
  const status = httpStatusOf(error);
  // What is not the sender's to mend is not for the sender to read.
  if (!isTallyError(error) || status >= 500) return { status, body: { error: 'INTERNAL' } };
  const { code, message, details } = error;
  return {
    status,
    body: {
      error: code,
      message,
      ...(details['reason'] === undefined ? {} : { reason: details['reason'] }),
    },
  };
}

/** Who asks. A real bank looks at a token here. */
function clerkOf(request: IncomingMessage): Clerk | undefined {
  const name = headerOf(request, 'x-clerk');
  return name === undefined ? undefined : { name, mayOpen: name !== 'trainee' };
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX)
      throw new TallyError('ROW_TOO_LARGE', {
        what: `the body has over ${BODY_BYTES_MAX} bytes`,
        mend: 'send less',
      });
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new TallyError('COMMAND_INVALID', {
      what: 'the body is no JSON',
      mend: 'send JSON',
      cause,
    });
  }
}
