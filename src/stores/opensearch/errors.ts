import { errorText, TallyError } from '../../core/errors.ts';

/** What the server says is wrong, from the body of an answer or from one item of a bulk. */
export interface Refusal {
  readonly status: number;
  /** As the server names it: `mapper_parsing_exception`. */
  readonly type: string;
  readonly reason: string;
}

interface ErrorBody {
  readonly type?: unknown;
  readonly reason?: unknown;
  readonly caused_by?: ErrorBody;
}

/** Reads what went wrong. A proxy before the server answers with something else than JSON. */
export function refusalOf(status: number, error: unknown): Refusal {
  if (typeof error !== 'object' || error === null)
    return { status, type: 'unknown', reason: errorText(error ?? 'no reason was given', 300) };
  const { type, reason, caused_by: cause } = error as ErrorBody;
  const texts = [reason, cause?.reason, cause?.caused_by?.reason].filter(
    (text) => typeof text === 'string',
  );
  return { status, type: errorText(type, 100), reason: errorText(texts.join(': '), 600) };
}

/** What the server refused, as the failure that a caller can decide about. */
export function refusalError(refusal: Refusal, where: string): TallyError {
  const { status, type, reason } = refusal;
  const details = { status, type, reason };
  if (type === 'cluster_block_exception') return blocked(refusal, where);
  if (type === 'index_closed_exception')
    return new TallyError('STORE_BUSY', {
      what: 'the index is closed',
      where,
      mend: 'open it again: POST /INDEX/_open; what was not written is then written',
      details,
    });
  if (status === 413)
    return tooLarge('the request is larger than the server takes', where, details);
  if (status === 401 || status === 403)
    return new TallyError('STORE_UNREACHABLE', {
      what: `the server refuses who asks: ${reason}`,
      where,
      mend: 'check opensearch.auth, that it has not expired, and the rights of its role (docs/stores/opensearch.md lists them)',
      details,
    });
  if (status === 429 || status === 408)
    return new TallyError('STORE_BUSY', {
      what: `the server has more to do than it takes: ${reason}`,
      where,
      mend: 'wait; if it stays, give it more memory or nodes, or the flow smaller batches',
      details,
    });
  if (status >= 500) return unreachableError(`it answered ${status}: ${reason}`, where, details);
  return new TallyError('CONFIG_INVALID', {
    what: `the server refuses the request: ${reason}`,
    where,
    mend: 'check the declaration of the target, or the request',
    details,
  });
}

function blocked({ status, type, reason }: Refusal, where: string): TallyError {
  const details = { status, type, reason };
  if (/read-only-allow-delete|disk usage exceeded/.test(reason))
    return new TallyError('STORE_FULL', {
      what: `the disk of a node is nearly full, and the server has stopped taking writes: ${reason}`,
      where,
      mend: 'free space or add nodes; the block is lifted by itself, or by setting index.blocks.read_only_allow_delete to null',
      details,
    });
  return new TallyError('STORE_BUSY', {
    what: `somebody has blocked writes: ${reason}`,
    where,
    mend: 'lift the block in the settings of the index or the cluster; what was not written is then written',
    details,
  });
}

export function tooLarge(
  what: string,
  where: string,
  details: Readonly<Record<string, unknown>> = {},
): TallyError {
  return new TallyError('ROW_TOO_LARGE', {
    what,
    where,
    mend: 'store the large part as an object and keep its key in the row, or raise http.max_content_length and rowBytesMax',
    details,
  });
}

/** There was no answer, or none that says anything about the request. */
export function unreachableError(
  reason: string,
  where: string,
  details: Readonly<Record<string, unknown>> = {},
  cause?: unknown,
): TallyError {
  return new TallyError('STORE_UNREACHABLE', {
    what: `the server cannot be reached: ${reason}`,
    where,
    mend: 'check that it runs, the url, and what stands between; https:// if it wants TLS',
    details,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The certificate of the server is not one that this process trusts. */
export function untrustedError(reason: string, where: string, cause: unknown): TallyError {
  return new TallyError('STORE_UNREACHABLE', {
    what: `the certificate of the server is not trusted: ${reason}`,
    where,
    mend: 'give the certificate of who signed it as opensearch.tls.ca, and the name it was made out to as tls.serverName',
    details: { reason },
    cause,
  });
}

export function corruptAnswer(what: string, where: string, text: string): TallyError {
  return new TallyError('STORE_CORRUPT', {
    what,
    where,
    mend: 'look for a proxy that answers in place of the server',
    details: { text: text.slice(0, 200) },
  });
}

/** The store, or a part of it, was used after it was closed. */
export function closedError(where: string): TallyError {
  return new TallyError('STORE_CLOSED', {
    what: 'it was used after it was closed',
    where,
    mend: 'open the store again',
  });
}
