import { must, TallyError } from '../../../core/errors.ts';
import { refusalError, refusalOf } from '../errors.ts';
import type { OpenSearchParts } from '../parts.ts';
import { pathOf } from './names.ts';
import { readersFilter } from './targets.ts';

/** Which index a session means. */
export interface IndexOf {
  readonly flow: string;
  readonly target: string;
  readonly generation: number;
  readonly workerEpoch: number;
  /** Whether readers see this generation. */
  readonly isCurrent: boolean;
}

interface FoundIndex {
  readonly aliases: Readonly<Record<string, object>>;
  readonly mappings: { readonly _meta?: { readonly tally?: { readonly flow?: string } } };
  readonly settings: { readonly index: IndexSettings };
}

interface IndexSettings {
  readonly uuid: string;
  readonly number_of_shards: string;
  readonly translog?: { readonly durability?: string };
}

interface ShardStats {
  readonly routing: { readonly primary: boolean; readonly state: string };
  readonly commit?: { readonly user_data?: { readonly history_uuid?: string } };
}

/** Makes, checks, empties and switches the indices of targets. */
export class Indices {
  readonly #parts: OpenSearchParts;

  constructor(parts: OpenSearchParts) {
    this.#parts = parts;
  }

  /** Makes the index of flows. Its name is taken by an alias, so that a write never makes an index by accident. */
  async ensureFlows(): Promise<void> {
    const { names } = this.#parts;
    const path = `/${pathOf(names.flowsIndex)}`;
    if ((await this.#ask('HEAD', path)).status === 200) return;
    await this.#create(path, {
      settings: { index: { auto_expand_replicas: '0-1', 'translog.durability': 'request' } },
      mappings: { dynamic: false, properties: { flow: { type: 'keyword' } } },
      aliases: { [names.flows]: {} },
    });
  }

  /**
   * Makes the index of a target if it is not there, and takes it for this worker: from now on the aliases of others are
   * gone, and what they write finds no index. Answers which index it is: another one holds other rows. Throws CONFIG_INVALID,
   * STORE_UNREACHABLE (a primary shard is not there).
   */
  async take(of: IndexOf): Promise<string> {
    const { names } = this.#parts;
    const { target, generation } = of;
    names.check(target);
    const index = names.index(target, generation);
    const found = await this.#find(names.readers(target), index);
    this.#checkOthers(found, of);
    const held = found[index];
    if (held === undefined) await this.create(of);
    else {
      this.#checkDurable(held, index);
      await this.#addFields(target, index);
      await this.#moveAliases(of, Object.keys(held.aliases));
    }
    return this.#identity(index);
  }

  /** Makes an index with its aliases, in one step. */
  async create(of: IndexOf): Promise<void> {
    const { names, catalogue } = this.#parts;
    const { flow, target, generation, workerEpoch, isCurrent } = of;
    await this.#create(`/${pathOf(names.index(target, generation))}`, {
      settings: { index: catalogue.settings(target) },
      mappings: { ...catalogue.mapping(target), _meta: { tally: { flow, target, generation } } },
      aliases: {
        [names.writers(target, generation, workerEpoch)]: {},
        ...(isCurrent ? { [names.readers(target)]: { filter: readersFilter } } : {}),
      },
    });
  }

  /** Deletes an index, if it is there. */
  async remove(target: string, generation: number): Promise<void> {
    const index = this.#parts.names.index(target, generation);
    await this.#must('DELETE', `/${pathOf(index)}`, undefined, { ignore_unavailable: true });
  }

  /** Moves the readers of all targets to another generation, in one step. */
  async switchReaders(targets: readonly string[], to: number): Promise<void> {
    const { names } = this.#parts;
    const actions: object[] = [];
    for (const target of targets) {
      const alias = names.readers(target);
      const held = Object.keys(await this.#find(alias));
      for (const index of held.filter((each) => each !== names.index(target, to)))
        actions.push({ remove: { index, alias } });
      actions.push({ add: { index: names.index(target, to), alias, filter: readersFilter } });
    }
    if (actions.length > 0) await this.#must('POST', '/_aliases', { actions });
  }

  /** The generation that readers of a target see; undefined if they see none. */
  async readersOf(target: string): Promise<number | undefined> {
    const { names } = this.#parts;
    const [index] = Object.keys(await this.#find(names.readers(target)));
    const text = index?.slice(names.readers(target).length).replace(/^-g/, '');
    return text === undefined ? undefined : Number(text);
  }

  /** Which indices are behind these aliases; an alias that is not there adds none. */
  async uuidsOf(aliases: readonly string[]): Promise<readonly string[]> {
    const path = `/${pathOf(...aliases)}/_settings`;
    const found = (await this.#must('GET', path, undefined, {
      ignore_unavailable: true,
    })) as Readonly<Record<string, Pick<FoundIndex, 'settings'>>>;
    return Object.values(found).map(({ settings }) => settings.index.uuid);
  }

  async #find(...names: readonly string[]): Promise<Readonly<Record<string, FoundIndex>>> {
    const path = `/${pathOf(...names)}`;
    const { status, body } = await this.#ask('GET', path, undefined, { ignore_unavailable: true });
    return status === 404 ? {} : (body as Readonly<Record<string, FoundIndex>>);
  }

  #checkOthers(found: Readonly<Record<string, FoundIndex>>, { flow, target }: IndexOf): void {
    for (const [index, { mappings }] of Object.entries(found)) {
      const { _meta: meta } = mappings;
      const other = meta?.tally?.flow;
      if (other === flow) continue;
      throw new TallyError('CONFIG_INVALID', {
        what:
          other === undefined
            ? `there is an index ${index} already, and no flow has made it`
            : `another flow, ${other}, has filled this target`,
        where: `target ${target} of ${this.#parts.where}, opened by flow ${flow}`,
        mend: `give the target another name, or the store a prefix; or delete the index ${index}, if what it holds is no longer wanted: it is then filled anew`,
        details: { target, flow, index, other },
      });
    }
  }

  /** Otherwise: 1. rows are answered and not synced  2. the checkpoint is  3. power is lost: the rows are never written. */
  #checkDurable({ settings }: FoundIndex, index: string): void {
    if (settings.index.translog?.durability !== 'async') return;
    throw new TallyError('CONFIG_INVALID', {
      what: 'what this index answers may be lost with the power: index.translog.durability is async',
      where: `index ${index} of ${this.#parts.where}`,
      mend: `PUT /${index}/_settings {"index.translog.durability":"request"}`,
      details: { index },
    });
  }

  /** Fields that were declared since. A field that became another is refused by the server. */
  async #addFields(target: string, index: string): Promise<void> {
    const { dynamic, properties } = this.#parts.catalogue.mapping(target);
    const { status, body } = await this.#ask('PUT', `/${pathOf(index)}/_mapping`, {
      dynamic,
      properties,
    });
    if (status < 300) return;
    const refusal = refusalOf(status, (body as { error?: unknown }).error);
    if (status !== 400) throw refusalError(refusal, `index ${index} of ${this.#parts.where}`);
    throw new TallyError('CONFIG_INVALID', {
      what: `the index does not have the fields that are declared: ${refusal.reason}`,
      where: `index ${index} of ${this.#parts.where}`,
      mend: 'declare them as they were, run tally rebuild, which fills a new index, and then declare them as they shall be',
      details: { index, reason: refusal.reason },
    });
  }

  async #moveAliases(of: IndexOf, held: readonly string[]): Promise<void> {
    const { names } = this.#parts;
    const { target, generation, workerEpoch, isCurrent } = of;
    const index = names.index(target, generation);
    const own = names.writers(target, generation, workerEpoch);
    const others = held.filter((alias) => alias.startsWith(`${index}-w`) && alias !== own);
    await this.#must('POST', '/_aliases', {
      actions: [
        ...others.map((alias) => ({ remove: { index, alias } })),
        { add: { index, alias: own } },
        ...(isCurrent
          ? [{ add: { index, alias: names.readers(target), filter: readersFilter } }]
          : []),
      ],
    });
  }

  /**
   * Which index it is, and of each shard which history: both change when it is made anew, restored, or given a shard that
   * lacks the last writes by hand.
   */
  async #identity(index: string): Promise<string> {
    const at = pathOf(index);
    const settings = await this.#must('GET', `/${at}/_settings`);
    const held = (settings as Readonly<Record<string, Pick<FoundIndex, 'settings'>>>)[index];
    const { uuid, number_of_shards: shards } = must(held, `the settings of ${index}`).settings
      .index;
    const stats = (await this.#must('GET', `/${at}/_stats/docs`, undefined, {
      level: 'shards',
    })) as {
      readonly indices: Readonly<
        Record<string, { readonly shards: Readonly<Record<string, readonly ShardStats[]>> }>
      >;
    };
    const histories = Object.values(stats.indices[index]?.shards ?? {}).flatMap((copies) =>
      copies
        .filter(({ routing }) => routing.primary && routing.state === 'STARTED')
        .map(({ commit }) => commit?.user_data?.history_uuid ?? ''),
    );
    if (histories.length === Number(shards)) return [uuid, ...histories.toSorted()].join(' ');
    throw new TallyError('STORE_UNREACHABLE', {
      what: `${histories.length} of ${shards} primary shards of the index are there`,
      where: `index ${index} of ${this.#parts.where}`,
      mend: 'bring back the node that has the others; GET /_cluster/allocation/explain says what is missing',
      details: { index, shards: Number(shards), started: histories.length },
    });
  }

  async #create(path: string, body: object): Promise<void> {
    const answer = await this.#ask('PUT', path, body);
    if (answer.status < 300) return;
    const where = `${this.#parts.where}, PUT ${path}`;
    const refusal = refusalOf(answer.status, (answer.body as { error?: unknown }).error);
    if (refusal.type === 'resource_already_exists_exception')
      throw new TallyError('STORE_BUSY', {
        what: 'another process has made this index in the same moment',
        where,
        mend: 'nothing: the flow opens it again and finds it there',
      });
    throw refusalError(refusal, where);
  }

  async #must(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: object,
    query: Readonly<Record<string, string | boolean>> = {},
  ): Promise<unknown> {
    const answer = await this.#ask(method, path, body, query);
    if (answer.status < 300) return answer.body;
    const refusal = refusalOf(answer.status, (answer.body as { error?: unknown }).error);
    throw refusalError(refusal, `${this.#parts.where}, ${method} ${path}`);
  }

  #ask(
    method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: object,
    query: Readonly<Record<string, string | boolean>> = {},
  ): Promise<{ readonly status: number; readonly body: unknown }> {
    const request = { method, path, query, ...(body === undefined ? {} : { body }) };
    return this.#parts.link.ask(request);
  }
}
