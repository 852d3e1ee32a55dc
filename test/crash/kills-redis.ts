import { createClient } from 'redis';

/** Which run of the server this is: another one after each start. Undefined if it does not answer. */
export async function redisRun(url: string): Promise<string | undefined> {
  const client: ReturnType<typeof createClient> = createClient({
    url,
    socket: { reconnectStrategy: false, connectTimeout: 1_000 },
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return /^run_id:(\w+)/m.exec(await client.info('server'))?.[1];
  } catch {
    return undefined;
  } finally {
    client.destroy();
  }
}
