/** One request of the HTTP API, as its pages write it. */
export interface OpenSearchRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** From the slash on, parts encoded: `/products/_search`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** An object becomes JSON; a text is sent as it is (lines of `_bulk` and `_msearch`). */
  readonly body?: object | string;
  readonly signal?: AbortSignal;
}

/** What was answered. */
export interface OpenSearchAnswer {
  readonly status: number;
  /** The JSON; undefined if there was none. Whole numbers past 2^53 are BigInt. */
  readonly body: unknown;
}

/**
 * A client for the application's own requests: searches, aggregations, mappings. The official drivers speak to one product
 * each (that of Elastic refuses OpenSearch), and the API is HTTP and JSON: so it is ours, and speaks to both.
 *
 * ```ts
 * const { body } = await store.client.request({
 *   method: 'POST',
 *   path: '/products/_search',
 *   body: { query: { match: { name: 'lamp' } } },
 * });
 * ```
 */
export interface OpenSearchClient {
  /**
   * Sends one request. Statuses below 300, and 404 and 409, are answers. Throws CONFIG_INVALID for what the server
   * refuses (400), STORE_UNREACHABLE (then it may have been done; also for 401 and 403), STORE_BUSY, STORE_FULL,
   * ROW_TOO_LARGE, STORE_CORRUPT, STORE_CLOSED, ABORTED.
   */
  request(request: OpenSearchRequest): Promise<OpenSearchAnswer>;
}
