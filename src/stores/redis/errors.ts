import { TallyError, type ErrorCode } from '../../core/errors.ts';

interface Known {
  readonly code: ErrorCode;
  readonly what: string;
  readonly mend: string;
}

const noPermission = {
  code: 'STORE_UNREACHABLE',
  mend: 'grant it: ACL SETUSER <user> with the commands and the keys that the message names (~* &* +@all is everything)',
} as const;
const noDatabase: Known = {
  code: 'CONFIG_INVALID',
  what: 'the database that the url names is not there',
  mend: 'give a number below `databases` of its configuration (16 if not set); a cluster has only 0',
};
const killed: Known = {
  code: 'STORE_BUSY',
  what: 'a script was ended with SCRIPT KILL before it wrote anything',
  mend: 'nothing; it is tried again',
};

/** The first word of an error reply, where somebody can decide about it. */
const replies: Readonly<Record<string, Known>> = {
  OOM: {
    code: 'STORE_FULL',
    what: 'Redis is at its maxmemory and refuses writes',
    mend: 'raise it (CONFIG SET maxmemory …), or remove what is not needed; nothing of the batch was kept',
  },
  MISCONF: {
    code: 'STORE_FULL',
    what: 'Redis cannot save to its disk and refuses writes',
    mend: 'free space under its dir, and look at rdb_last_bgsave_status and aof_last_write_status of INFO persistence',
  },
  NOAUTH: {
    code: 'STORE_UNREACHABLE',
    what: 'Redis asks for a password and none was given',
    mend: 'write it into the url: redis://user:password@host:6379',
  },
  WRONGPASS: {
    code: 'STORE_UNREACHABLE',
    what: 'Redis refuses the user or the password',
    mend: 'check the url; if the password was changed, open the store with the new one',
  },
  READONLY: {
    code: 'STORE_UNREACHABLE',
    what: 'this Redis is a read-only replica',
    mend: 'give the address of its master; after a failover, of the new one',
  },
  MASTERDOWN: {
    code: 'STORE_UNREACHABLE',
    what: 'the link of this replica to its master is down',
    mend: 'wait for it, or give the address of the master',
  },
  NOREPLICAS: {
    code: 'STORE_BUSY',
    what: 'Redis has fewer good replicas than min-replicas-to-write',
    mend: 'bring the replicas back, or lower min-replicas-to-write',
  },
  LOADING: {
    code: 'STORE_BUSY',
    what: 'Redis is still loading its data',
    mend: 'wait until it has; it is tried again',
  },
  BUSY: {
    code: 'STORE_BUSY',
    what: 'Redis is busy with a script of somebody else',
    mend: 'wait, or end it with SCRIPT KILL',
  },
  TRYAGAIN: {
    code: 'STORE_BUSY',
    what: 'a slot of the cluster is being moved',
    mend: 'wait until it has; it is tried again',
  },
  CLUSTERDOWN: {
    code: 'STORE_UNREACHABLE',
    what: 'the cluster does not serve all its slots',
    mend: 'look at CLUSTER INFO and CLUSTER NODES; bring the missing master back or fail over',
  },
  MOVED: {
    code: 'CONFIG_INVALID',
    what: 'this Redis is a node of a cluster',
    mend: 'open it with redis({ cluster: [url, …] }) instead of redis({ url })',
  },
  WRONGTYPE: {
    code: 'CONFIG_INVALID',
    what: 'a key that belongs to the coordinator, or to a target, holds something of another kind',
    mend: 'give the store a prefix that nobody else writes under, or remove the key',
  },
};

const unreachable: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** Classes of the driver that mean: no connection, or lost while a command was under way. */
const disconnected: ReadonlySet<string> = new Set([
  'AbortError',
  'ClientClosedError',
  'ClientOfflineError',
  'ConnectionTimeoutError',
  'DisconnectsClientError',
  'MaxCommandRedirectionsError',
  'ReconnectStrategyError',
  'RootNodesUnavailableError',
  'SocketClosedUnexpectedlyError',
  'SocketTimeoutError',
  'TimeoutError',
]);

/** The first word of an error reply, such as `NOSCRIPT`; undefined for any other error. */
export function replyWord(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return /^-?([A-Z]{2,})(?= |$)/.exec(error.message)?.[1];
}

/**
 * A failure of Redis or of the connection as a TallyError (STORE_UNREACHABLE, STORE_BUSY, STORE_FULL,
 * CONFIG_INVALID, CAPABILITY_MISSING). Whatever else was thrown is returned as it is.
 */
export function redisError(error: unknown, where: string): unknown {
  if (error instanceof TallyError) return error;
  const word = replyWord(error);
  const known = word === undefined ? undefined : meaningOf(word, error as Error);
  if (known !== undefined)
    return new TallyError(known.code, {
      what: known.what,
      where,
      mend: known.mend,
      details: { redis: (error as Error).message.slice(0, 500) },
      cause: error,
    });
  const reason = connectionReason(error);
  if (reason === undefined) return error;
  return new TallyError('STORE_UNREACHABLE', {
    what: `Redis cannot be reached: ${reason}`,
    where,
    mend: 'check that it runs, the address, and what stands between; rediss:// if it wants TLS',
    details: { reason },
    cause: error,
  });
}

/** `ERR` begins everything that has no word of its own; what somebody can decide about is told by the rest. */
function meaningOf(word: string, { message }: Error): Known | undefined {
  if (word === 'NOPERM')
    return { ...noPermission, what: `the user may not do this: ${message.slice(0, 200)}` };
  if (word !== 'ERR') return replies[word];
  if (message.startsWith('ERR DB index is out of range')) return noDatabase;
  const [, command] = /^ERR unknown command '([A-Za-z]{1,20})'/.exec(message) ?? [];
  if (command !== undefined)
    return {
      code: 'CAPABILITY_MISSING',
      what: `this server has no command ${command.toUpperCase()}: it was renamed or disabled, or the server is older than Redis 7`,
      mend: `take its rename-command out of redis.conf, or use a server that has it`,
    };
  return /Script killed by user/.test(message) ? killed : undefined;
}

/** The store, or a part of it, was used after it was closed. */
export function closedStore(where: string): TallyError {
  return new TallyError('STORE_CLOSED', {
    what: 'it was used after it was closed',
    where,
    mend: 'open the store again',
  });
}

function connectionReason(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  if (
    code !== undefined &&
    (unreachable.has(code) ||
      /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code))
  )
    return code;
  if (error instanceof AggregateError)
    return error.errors.map(connectionReason).find((reason) => reason !== undefined);
  const name = error.constructor.name;
  return disconnected.has(name) ? name : undefined;
}
