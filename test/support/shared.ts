import { inject } from 'vitest';

/** The kinds of server that the tests of one run share. */
export type SharedName = 'postgres' | 'redis' | 'memcached' | 'kafka' | 'opensearch' | 'neo4j';

/** What a run has of one kind of server. */
export type SharedServer =
  | { readonly url: string; readonly owner: 'run' | 'environment' }
  | { readonly unavailable: string; readonly required: boolean };

/** The first file that asks for a kind starts it; the others find it running. */
export async function sharedServer(name: SharedName): Promise<SharedServer> {
  const response = await fetch(`http://127.0.0.1:${inject('serversPort')}/${name}`);
  return (await response.json()) as SharedServer;
}

/** Whether a server can be had. Throws if it is required and cannot. */
export function isThere(name: string, server: SharedServer): boolean {
  if ('url' in server) return true;
  if (server.required) throw new Error(`${name} cannot be had: ${server.unavailable}`);
  return false;
}

export function urlOf(name: string, server: SharedServer): string {
  if ('url' in server) return server.url;
  throw new Error(`${name} cannot be had: ${server.unavailable}`);
}
