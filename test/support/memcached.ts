import type { MemcachedClient, MetaRequest } from '../../src/stores/memcached/index.ts';

/** Lets all items under a prefix expire so much earlier: Memcached's clock cannot be moved. */
export async function ageItems(
  client: MemcachedClient,
  prefix: string,
  delayMs: number,
): Promise<void> {
  const names: string[] = [];
  const start = `key=${encodeURIComponent(prefix)}`;
  const dump = (): Promise<string> =>
    client.command('lru_crawler metadump all', (line) => {
      if (!line.startsWith(start)) return;
      const [, name = ''] = /^key=(\S+) /.exec(line) ?? [];
      names.push(decodeURIComponent(name));
    });
  // Memcached has one crawler, and others use it as well.
  while ((await dump()) !== 'END') names.length = 0;
  const leftMs = await client.sendMany(names.map((key) => ({ verb: 'mg', key, flags: ['t'] })));
  await client.sendMany(
    names.flatMap((key, index): readonly MetaRequest[] => {
      const flag = leftMs[index]?.flags.find((one) => one.startsWith('t')) ?? 't-1';
      const leftS = Number(flag.slice(1));
      if (leftS === -1) return [];
      const newS = leftS - delayMs / 1_000;
      return [newS > 0 ? { verb: 'mg', key, flags: [`T${newS}`] } : { verb: 'md', key }];
    }),
  );
}
