import { Agent as HttpAgent, request as httpRequest, type ClientRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { TallyError } from '../../../core/errors.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { OpenSearchAnswer, OpenSearchClient, OpenSearchRequest } from '../client.ts';
import {
  closedError,
  corruptAnswer,
  refusalError,
  refusalOf,
  unreachableError,
  untrustedError,
} from '../errors.ts';
import type { Endpoint } from '../options.ts';
import { parseExact } from './exact-json.ts';

/** Connections that are kept for the next request; a flow uses one, barriers and reads the others. */
const SOCKETS_MAX = 16;
/** A page of a scan at its largest is below it; more is an answer that nobody asked for. */
const ANSWER_BYTES_MAX: number = 256 * 2 ** 20;
/** Of a request; below it, compressing costs more than it saves. */
const COMPRESS_BYTES_MIN = 1_024;

const zip = promisify(gzip);
const unzip = promisify(gunzip);

/** What a request is sent with. */
export interface LinkOptions {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  /** For messages, e.g. `store search`. */
  readonly where: string;
}

/** Requests over kept connections. Several may be under way at once. */
export interface Link extends OpenSearchClient {
  /** Sends one request; whatever status is an answer. Throws STORE_UNREACHABLE, STORE_CORRUPT, STORE_CLOSED, ABORTED. */
  ask(request: OpenSearchRequest): Promise<OpenSearchAnswer>;
  /** Ends connections; requests under way fail. */
  close(): void;
}

interface Sent {
  readonly status: number;
  readonly bytes: Buffer;
  readonly encoding: string;
}

/** Opens nothing yet: the first request does. */
export function openLink(options: LinkOptions): Link {
  return new HttpLink(options);
}

class HttpLink implements Link {
  readonly #options: LinkOptions;
  readonly #agent: HttpAgent;
  readonly #closed = new AbortController();

  constructor(options: LinkOptions) {
    const { isTls, tls } = options.endpoint;
    const kept = { keepAlive: true, maxSockets: SOCKETS_MAX };
    this.#options = options;
    this.#agent = isTls
      ? new HttpsAgent({
          ...kept,
          ...(tls.ca === undefined ? {} : { ca: tls.ca }),
          ...(tls.cert === undefined ? {} : { cert: tls.cert }),
          ...(tls.key === undefined ? {} : { key: tls.key }),
          ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
        })
      : new HttpAgent(kept);
  }

  async request(request: OpenSearchRequest): Promise<OpenSearchAnswer> {
    const answer = await this.ask(request);
    const { status, body } = answer;
    if (status < 300 || status === 404 || status === 409) return answer;
    throw refusalError(refusalOf(status, errorOf(body)), this.#at(request));
  }

  async ask(request: OpenSearchRequest): Promise<OpenSearchAnswer> {
    if (this.#closed.signal.aborted) throw closedError(this.#options.where);
    const { status, bytes, encoding } = await this.#send(request);
    const text = (encoding === 'gzip' ? await unzip(bytes) : bytes).toString('utf8');
    if (text === '') return { status, body: undefined };
    try {
      return { status, body: parseExact(text) };
    } catch {
      // A proxy says in HTML that the server is not there: its status says enough.
      if (status >= 300) return { status, body: { error: text.slice(0, 200) } };
      throw corruptAnswer('the answer is not JSON', this.#at(request), text);
    }
  }

  close(): void {
    this.#closed.abort();
    this.#agent.destroy();
  }

  async #send(request: OpenSearchRequest): Promise<Sent> {
    const body = await this.#bodyOf(request);
    try {
      return await this.#exchange(request, body);
    } catch (error) {
      // The server closed a kept connection in the moment in which it was taken again. Every request of ours may come
      // twice: versions refuse the second.
      if (!isStale(error)) throw this.#failure(error, request);
    }
    try {
      return await this.#exchange(request, body);
    } catch (error) {
      throw this.#failure(error, request);
    }
  }

  async #bodyOf({ body }: OpenSearchRequest): Promise<Body | undefined> {
    if (body === undefined) return undefined;
    const isText = typeof body === 'string';
    const type = isText ? 'application/x-ndjson' : 'application/json';
    const bytes = Buffer.from(isText ? body : JSON.stringify(body), 'utf8');
    if (this.#options.endpoint.compression === 'none' || bytes.length < COMPRESS_BYTES_MIN)
      return { bytes, headers: { 'content-type': type } };
    return {
      bytes: await zip(bytes, { level: 1 }),
      headers: { 'content-type': type, 'content-encoding': 'gzip' },
    };
  }

  /** One request and its answer, or a rejection with what the connection failed with. */
  #exchange(request: OpenSearchRequest, body: Body | undefined): Promise<Sent> {
    const { endpoint, clock } = this.#options;
    const { timeoutMs } = endpoint;
    return new Promise<Sent>((resolve, reject) => {
      const sending = this.#start(request, body);
      const cancel = clock.after(timeoutMs, () =>
        sending.destroy(new Error(`no answer within ${timeoutMs} ms`)),
      );
      const abort = (): void => void sending.destroy(aborted(request));
      const close = (): void => void sending.destroy(closedError(this.#options.where));
      request.signal?.addEventListener('abort', abort, { once: true });
      this.#closed.signal.addEventListener('abort', close, { once: true });
      sending.on('response', (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          length += chunk.length;
          if (length > ANSWER_BYTES_MAX)
            sending.destroy(new Error(`the answer is longer than ${ANSWER_BYTES_MAX} bytes`));
        });
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            bytes: Buffer.concat(chunks),
            encoding: response.headers['content-encoding'] ?? '',
          }),
        );
        response.on('error', reject);
      });
      sending.on('error', (error) => reject(sending.reusedSocket ? staleOr(error) : error));
      sending.on('close', () => {
        cancel();
        request.signal?.removeEventListener('abort', abort);
        this.#closed.signal.removeEventListener('abort', close);
        // An answer that was cut off in its middle ends in neither `end` nor, of the request, `error`.
        reject(new Error('the connection ended before the answer did'));
      });
      if (request.signal?.aborted === true) abort();
      sending.end(body?.bytes);
    });
  }

  #start({ method, path, query = {} }: OpenSearchRequest, body: Body | undefined): ClientRequest {
    const { endpoint } = this.#options;
    const { host, port, basePath, isTls } = endpoint;
    const asked = new URLSearchParams(
      Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
    ).toString();
    const options = {
      agent: this.#agent,
      method,
      host,
      port,
      path: `${basePath}${path}${asked === '' ? '' : `?${asked}`}`,
      headers: {
        ...endpoint.headers,
        ...body?.headers,
        'content-length': body?.bytes.length ?? 0,
      },
    };
    return isTls ? httpsRequest(options) : httpRequest(options);
  }

  #failure(error: unknown, request: OpenSearchRequest): TallyError {
    if (error instanceof TallyError) return error;
    const where = this.#at(request);
    const code = codeOf(error);
    const reason = `${code === '' ? '' : `${code}: `}${error instanceof Error ? error.message : 'unknown'}`;
    if (/CERT|SIGNED|VERIFY|ALTNAME|ISSUER/.test(code)) return untrustedError(reason, where, error);
    return unreachableError(reason, where, { code }, error);
  }

  #at({ method, path }: OpenSearchRequest): string {
    return `${this.#options.where}, ${method} ${path.slice(0, 120)}`;
  }
}

interface Body {
  readonly bytes: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

class StaleConnection extends Error {}

function staleOr(error: Error): Error {
  const code = codeOf(error);
  return code === 'ECONNRESET' || code === 'EPIPE'
    ? new StaleConnection(error.message, { cause: error })
    : error;
}

function isStale(error: unknown): boolean {
  return error instanceof StaleConnection;
}

function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : '';
}

function errorOf(body: unknown): unknown {
  return typeof body === 'object' && body !== null && 'error' in body ? body.error : body;
}

function aborted({ method, path }: OpenSearchRequest): TallyError {
  return new TallyError('ABORTED', {
    what: 'the caller gave up waiting for an answer',
    where: `${method} ${path}`,
    mend: 'nothing; or wait longer',
  });
}
