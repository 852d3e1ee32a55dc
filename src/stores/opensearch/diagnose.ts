import type { Diagnose, Finding, StoreUse } from '../../ports/diagnose.ts';
import { readInfo } from './info.ts';
import type { OpenSearchParts } from './parts.ts';
import { pathOf } from './sink/names.ts';
import { OWN_FIELD } from './sink/targets.ts';

/** Part of the limit of fields; mappings only grow, and beyond the limit every row with a new member is refused. */
const FIELDS_WARN = 0.8;
const FIELDS_MAX_DEFAULT = 1_000;
/** Part of the documents that are tombstones: searches walk over them. */
const TOMBSTONES_WARN = 0.5;

interface IndexState {
  readonly settings: { readonly index: Readonly<Record<string, unknown>> };
  readonly mappings: { readonly properties?: Fields };
}

type Fields = Readonly<Record<string, { readonly properties?: Fields; readonly fields?: Fields }>>;

/** Looks at the server and the indices that targets have there. Throws STORE_UNREACHABLE. */
export function openDiagnose(parts: OpenSearchParts): Diagnose {
  return async (use) => {
    const found = [
      await version(parts),
      await health(parts),
      await automaticCreation(parts),
      role(use),
    ];
    for (const target of use.targets) found.push(...(await index(parts, target)));
    return found;
  };
}

async function version(parts: OpenSearchParts): Promise<Finding> {
  const { distribution, number } = await readInfo(parts);
  const [major = 0, minor = 0] = number.split('.').map(Number);
  const isEnough = distribution === 'opensearch' || major > 7 || (major === 7 && minor >= 10);
  const found = `${distribution} ${number}`;
  if (isEnough) return ok('version', found);
  return {
    level: 'fail',
    check: 'version',
    found,
    remedy:
      'upgrade to Elasticsearch 7.10 or OpenSearch (the administrator): require_alias came with it',
  };
}

async function health({ link, names }: OpenSearchParts): Promise<Finding> {
  const path = `/_cluster/health/${names.all}`;
  const { body } = await link.request({ method: 'GET', path, query: { timeout: '1s' } });
  const { status = 'unknown', unassigned_shards: unassigned = 0 } = (body ?? {}) as {
    readonly status?: string;
    readonly unassigned_shards?: number;
  };
  const found = `${status}, ${unassigned} shards are nowhere`;
  if (status === 'green') return ok('health', found);
  return {
    level: status === 'yellow' ? 'warn' : 'fail',
    check: 'health',
    found,
    remedy:
      'GET /_cluster/allocation/explain says why; a single node has no place for replicas (number_of_replicas: 0)',
  };
}

/** A program that writes to a target that is not there would make an index in its place. */
async function automaticCreation({ link }: OpenSearchParts): Promise<Finding> {
  const check = 'action.auto_create_index';
  const { body } = await link.request({
    method: 'GET',
    path: '/_cluster/settings',
    query: { include_defaults: true, flat_settings: true },
  });
  const { persistent, transient, defaults } = body as Readonly<
    Record<'persistent' | 'transient' | 'defaults', Readonly<Record<string, string>> | undefined>
  >;
  const value = transient?.[check] ?? persistent?.[check] ?? defaults?.[check] ?? 'true';
  return ok(check, `${value}; the coordinator writes through aliases only`);
}

function role({ tables }: StoreUse): Finding {
  const check = 'role';
  if (tables.length === 0) return ok(check, 'a target');
  return {
    level: 'fail',
    check,
    found: 'flows read from it, and it has no log of its changes',
    remedy: 'write facts to a store that has one, such as postgres, and let a flow fill the index',
  };
}

async function index(parts: OpenSearchParts, target: string): Promise<readonly Finding[]> {
  const { link, names } = parts;
  const alias = pathOf(names.readers(target));
  const answer = await link.request({ method: 'GET', path: `/${alias}` });
  if (answer.status === 404)
    return [ok(`target ${target}`, 'not there yet: the flow makes it when it is opened')];
  const findings: Finding[] = [];
  for (const [name, state] of Object.entries(answer.body as Readonly<Record<string, IndexState>>))
    findings.push(durability(name, state), blocks(name, state), fields(name, state));
  findings.push(await tombstones(parts, target));
  return findings;
}

function durability(name: string, { settings }: IndexState): Finding {
  const check = `translog of ${name}`;
  const { durability: held = 'request' } = (settings.index['translog'] ?? {}) as {
    readonly durability?: string;
  };
  if (held !== 'async') return ok(check, held);
  return {
    level: 'fail',
    check,
    found: 'async: what was answered may be lost with the power, behind the checkpoint',
    remedy: `PUT /${name}/_settings {"index.translog.durability":"request"}`,
  };
}

function blocks(name: string, { settings }: IndexState): Finding {
  const check = `blocks of ${name}`;
  const held = Object.entries((settings.index['blocks'] ?? {}) as Readonly<Record<string, string>>)
    .filter(([, value]) => value === 'true')
    .map(([block]) => block);
  if (held.length === 0) return ok(check, 'none');
  return {
    level: 'fail',
    check,
    found: `${held.join(', ')}: writes are refused`,
    remedy: `free space if the disk is full; PUT /${name}/_settings ${JSON.stringify(
      Object.fromEntries(held.map((block) => [`index.blocks.${block}`, null])),
    )}`,
  };
}

function fields(name: string, { settings, mappings }: IndexState): Finding {
  const check = `fields of ${name}`;
  const { total_fields: total } = (settings.index['mapping'] ?? {}) as {
    readonly total_fields?: { readonly limit?: string };
  };
  const max = Number(total?.limit ?? FIELDS_MAX_DEFAULT);
  const held = countOf(mappings.properties ?? {});
  const found = `${held} of ${max}`;
  if (held < max * FIELDS_WARN) return ok(check, found);
  return {
    level: 'warn',
    check,
    found,
    remedy:
      'declare the fields of the target and rebuild it, so that members that nobody searches are no fields; or raise index.mapping.total_fields.limit',
  };
}

function countOf(properties: Fields): number {
  return Object.values(properties).reduce(
    (total, field) => total + 1 + countOf(field.properties ?? {}) + countOf(field.fields ?? {}),
    0,
  );
}

async function tombstones({ link, names }: OpenSearchParts, target: string): Promise<Finding> {
  const check = `tombstones of ${target}`;
  const [rows, all] = await Promise.all(
    [names.readers(target), `${names.readers(target)}-g*`].map(async (path) => {
      const { body } = await link.request({ method: 'GET', path: `/${pathOf(path)}/_count` });
      return (body as { readonly count?: number }).count ?? 0;
    }),
  );
  const dead = Math.max(0, (all ?? 0) - (rows ?? 0));
  const found = `${dead} beside ${rows ?? 0} rows`;
  if (dead < 1_000 || dead < (all ?? 0) * TOMBSTONES_WARN) return ok(check, found);
  return {
    level: 'warn',
    check,
    found,
    remedy: `nothing if a rebuild is under way; they go when nothing older can arrive (documents with ${OWN_FIELD}.deleted)`,
  };
}

function ok(check: string, found: string): Finding {
  return { level: 'ok', check, found };
}
