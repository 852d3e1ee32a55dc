import { TallyError } from '../../core/errors.ts';
import type { OpenSearchParts } from './parts.ts';

/** Which product answers. */
export interface Info {
  readonly distribution: 'opensearch' | 'elasticsearch';
  readonly number: string;
}

/** What a copy of a shard says. */
export interface Shard {
  readonly index: string;
  readonly shard: string;
  readonly routing: { readonly primary: boolean; readonly state: string };
  readonly docs?: { readonly count: number; readonly deleted: number };
  readonly store?: { readonly size_in_bytes: number };
  readonly segments?: { readonly count: number };
  readonly refresh?: { readonly total: number };
  readonly translog?: {
    readonly uncommitted_operations: number;
    readonly uncommitted_size_in_bytes: number;
  };
  readonly seq_no?: { readonly max_seq_no: number; readonly global_checkpoint: number };
}

/** Shards of which numbers are shown one by one. */
const SHARDS_MAX = 200;

/** Asks who is there. Throws STORE_UNREACHABLE, CAPABILITY_MISSING for what is neither product. */
export async function readInfo({
  link,
  where,
}: Pick<OpenSearchParts, 'link' | 'where'>): Promise<Info> {
  const { body } = await link.request({ method: 'GET', path: '/' });
  const { version } = (body ?? {}) as {
    readonly version?: { readonly distribution?: string; readonly number?: string };
  };
  const { number, distribution } = version ?? {};
  // Elasticsearch names no distribution: it was there first.
  if (typeof number === 'string' && (distribution === undefined || distribution === 'opensearch'))
    return { distribution: distribution ?? 'elasticsearch', number };
  throw new TallyError('CAPABILITY_MISSING', {
    what: 'what answers is neither OpenSearch nor Elasticsearch',
    where,
    mend: 'check the url: GET / should say version.number',
  });
}

/** The copies of all shards of this store's indices, at most {@link SHARDS_MAX}. */
export async function readShards({ link, names }: OpenSearchParts): Promise<readonly Shard[]> {
  const metrics = 'docs,store,segments,refresh,translog';
  const { body } = await link.request({
    method: 'GET',
    path: `/${names.all}/_stats/${metrics}`,
    query: { level: 'shards' },
  });
  const { indices = {} } = body as {
    readonly indices?: Readonly<
      Record<
        string,
        { readonly shards: Readonly<Record<string, readonly Omit<Shard, 'index' | 'shard'>[]>> }
      >
    >;
  };
  return Object.entries(indices)
    .flatMap(([index, { shards }]) =>
      Object.entries(shards).flatMap(([shard, copies]) =>
        copies.map((copy) => ({ ...copy, index, shard })),
      ),
    )
    .slice(0, SHARDS_MAX);
}
