import { createServer, type Server } from 'node:http';
import { TallyError } from 'tallystick';

/** A running status page. */
export interface StatusServer extends AsyncDisposable {
  readonly url: string;
}

/**
 * Serves `status()` as JSON at `/status`, on this machine only. Port 0 takes a free one. Throws PORT_IN_USE.
 */
export async function serveStatus(port: number, status: () => unknown): Promise<StatusServer> {
  const server = createServer((request, response) => {
    const isKnown = request.url === '/status' || request.url === '/';
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(isKnown ? status() : { error: 'see /status' }, null, 2)}\n`);
  });
  const taken = await listen(server, port);
  return {
    url: `http://127.0.0.1:${taken}/status`,
    [Symbol.asyncDispose]: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      return promise;
    },
  };
}

async function listen(server: Server, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once('error', reject);
  server.listen(port, '127.0.0.1', () => {
    const address = server.address();
    resolve(typeof address === 'object' && address !== null ? address.port : port);
  });
  try {
    return await promise;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause;
    throw new TallyError('PORT_IN_USE', {
      what: `port ${port} of 127.0.0.1 is taken`,
      where: 'the status page',
      mend: 'leave --port out to take a free one, or end the other program',
      cause,
    });
  }
}
