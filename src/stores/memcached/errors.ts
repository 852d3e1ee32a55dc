import { TallyError } from '../../core/errors.ts';

/** What Memcached answered instead of doing it, as a TallyError. */
export function refusalError(text: string, where: string): TallyError {
  const details = { memcached: text.slice(0, 200) };
  if (text.startsWith('SERVER_ERROR object too large'))
    return new TallyError('ROW_TOO_LARGE', {
      what: 'the value is larger than an item of this Memcached may be',
      where,
      mend: 'start Memcached with a larger -I, or store it as an object and keep its key here',
      details,
    });
  if (text.startsWith('SERVER_ERROR out of memory'))
    return new TallyError('STORE_FULL', {
      what: 'Memcached has no memory for it',
      where,
      mend: 'start it with a larger -m, or without -M, so that it evicts what was not used for longest',
      details,
    });
  if (text.startsWith('CLIENT_ERROR unauth'))
    return new TallyError('STORE_UNREACHABLE', {
      what: 'Memcached asks for a user and a password',
      where,
      mend: 'write them into the url: memcached://user:password@host:11211',
      details,
    });
  if (text.startsWith('SERVER_ERROR'))
    return new TallyError('STORE_BUSY', {
      what: `Memcached could not do it: ${text.slice(0, 200)}`,
      where,
      mend: 'wait; if it stays, look at what Memcached, or the proxy before it, has to say',
      details,
    });
  if (text === 'ERROR')
    return new TallyError('CAPABILITY_MISSING', {
      what: 'this server does not know the command',
      where,
      mend: 'use Memcached 1.6 or newer: the meta protocol came with it',
      details,
    });
  return new TallyError('CONFIG_INVALID', {
    what: `Memcached refuses the command: ${text.slice(0, 200)}`,
    where,
    mend: 'check its key and its flags',
    details,
  });
}

/** There is no connection, or it was lost while commands were under way. */
export function unreachableError(reason: string, where: string, cause?: unknown): TallyError {
  return new TallyError('STORE_UNREACHABLE', {
    what: `Memcached cannot be reached: ${reason}`,
    where,
    mend: 'check that it runs, the address, and what stands between; memcacheds:// if it wants TLS',
    details: { reason },
    ...(cause === undefined ? {} : { cause }),
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
