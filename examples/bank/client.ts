import { mergeEvidence, noEvidence } from 'tallystick';
import { readEvidence, writeEvidence } from 'tallystick/http';

/** What a server answered. */
export interface Response {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Somebody at the bank's counter: sends commands, and reads what they did. */
export interface Customer {
  command(name: string, input: object, key: string): Promise<Response>;
  read(path: string): Promise<Response>;
}

/**
 * A client that hands back the evidence it was given. It merges: an answer may carry less than the one before, since a
 * server passes on only what it knows to be true, and one that has just started knows little.
 */
export function customer(url: string, clerk = 'ada'): Customer {
  let seen = noEvidence;
  const send = async (path: string, init: RequestInit): Promise<Response> => {
    const headers = new Headers(init.headers);
    headers.set('x-clerk', clerk);
    const baggage = writeEvidence(seen);
    if (baggage !== undefined) headers.set('baggage', baggage);
    const response = await fetch(url + path, { ...init, headers });
    seen = mergeEvidence(seen, readEvidence(response.headers).evidence);
    return { status: response.status, body: (await response.json()) as Response['body'] };
  };
  return {
    command: (name, input, key) =>
      send(`/commands/${name}`, {
        method: 'POST',
        body: JSON.stringify(input),
        headers: { 'idempotency-key': key },
      }),
    read: (path) => send(path, {}),
  };
}
