import { errorText, TallyError } from '../../../core/errors.ts';
import type {
  Checkpoint,
  OpenSinkOptions,
  Sink,
  SinkSession,
  SinkSupports,
  TargetShape,
} from '../../../ports/sink.ts';
import type { RedisParts } from '../parts.ts';
import { checkEviction, type Eviction } from '../eviction.ts';
import { sinkSupportsOf } from '../supports.ts';
import type { Catalogue } from './catalogue.ts';
import type { Names } from './names.ts';
import { earliest } from './record.ts';
import { checkReply, oneGeneration } from './refusal.ts';
import { claim, register } from './script.ts';
import { readRecords, RedisSinkSession } from './session.ts';

export interface RedisSinkOptions {
  readonly parts: RedisParts;
  readonly names: Names;
  readonly catalogue: Catalogue;
  readonly eviction: Eviction;
}

/** The sink of a Redis: one key for each row, its fence in a hash beside. */
export class RedisSink implements Sink {
  readonly supports: SinkSupports;
  readonly #options: RedisSinkOptions;

  constructor(options: RedisSinkOptions) {
    this.#options = options;
    const { names, catalogue } = options;
    this.supports = sinkSupportsOf({ buckets: names.buckets, rowBytesMax: catalogue.rowBytesMax });
  }

  async open(options: OpenSinkOptions): Promise<SinkSession> {
    const { parts, names, catalogue, eviction } = this.#options;
    const { link, where, random, clock } = parts;
    const { flow, workerEpoch, generation } = options;
    const about = { flow, workerEpoch, where };
    for (const { target } of options.targets) catalogue.declaration(target);
    await checkEviction(link, eviction, where);
    await this.#checkLayout();
    const marks = await Promise.all(
      Array.from({ length: names.buckets }, async (_, bucket) => {
        const key = names.own('flow', flow, bucket);
        const reply = await claim.run(link, [key], [String(workerEpoch), String(generation)]);
        const [mark] = checkReply(reply, about);
        return String(mark);
      }),
    );
    const pairs = options.targets.flatMap(({ target }) => [
      target,
      `${flow}\n${catalogue.declaration(target).kind}`,
    ]);
    if (pairs.length > 0) checkReply(await register.run(link, [names.targets], pairs), about);
    return new RedisSinkSession({
      link,
      names,
      catalogue,
      supports: this.supports,
      open: options,
      targets: await this.#targetsOf(flow),
      marks,
      id: random.id(),
      clock,
      where,
      refuseEviction: () => checkEviction(link, eviction, where),
    });
  }

  async generation(flow: string): Promise<number | undefined> {
    const { parts, names } = this.#options;
    const key = names.own('flow', flow, 0);
    const held = await parts.link.send(key, ['HGET', key, 'generation']);
    return held === null ? undefined : Number(held);
  }

  async switchTo(
    flow: string,
    _to: number,
    _targets: readonly TargetShape[],
    _workerEpoch: number,
  ): Promise<void> {
    throw oneGeneration(flow, this.#options.parts.where);
  }

  async peek(flow: string): Promise<Checkpoint | undefined> {
    const { parts, names } = this.#options;
    return earliest(await readRecords(parts.link, names, flow, parts.where));
  }

  /** Every target that the flow has ever filled here. */
  async #targetsOf(flow: string): Promise<readonly string[]> {
    const { parts, names } = this.#options;
    const held = await readTargets(parts.link, names);
    return [...held]
      .filter(([, filled]) => filled.split('\n')[0] === flow)
      .map(([target]) => target);
  }

  /** Rows under names of another layout would stay where they are for ever, and be found by nobody. */
  async #checkLayout(): Promise<void> {
    const { parts, names } = this.#options;
    const key = names.layoutKey;
    await parts.link.send(key, ['SETNX', key, names.layout]);
    const held = await parts.link.send(key, ['GET', key]);
    if (held === names.layout || held === null) return;
    throw new TallyError('CONFIG_INVALID', {
      what: `the keys of this store were named for ${errorText(held, 100)}, and it is opened for ${names.layout}`,
      where: parts.where,
      mend: `open it with the buckets that it had; or give it another prefix and let the flows fill it anew`,
      details: { held, layout: names.layout },
    });
  }
}

/** The targets that were ever opened, with `flow\nkind` of each. */
export async function readTargets(
  link: RedisParts['link'],
  names: Names,
): Promise<ReadonlyMap<string, string>> {
  const reply = await link.send(names.targets, ['HGETALL', names.targets]);
  return new Map(
    Array.isArray(reply)
      ? pairsOf(reply as readonly string[])
      : Object.entries(reply as Readonly<Record<string, string>>),
  );
}

function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let index = 0; index < flat.length; index += 2)
    pairs.push([flat[index] ?? '', flat[index + 1] ?? '']);
  return pairs;
}
