import { expect, test } from 'vitest';
import { loadDriver } from './driver.ts';
import { redisError, replyWord } from './errors.ts';
import { checkRedisOptions } from './options.ts';
import { hash, json, sortedSet } from './sink/targets.ts';
import { redis } from './store.ts';

const url = 'redis://localhost:6379';
/** As a caller without types would give them. */
const given =
  (options: object): (() => unknown) =>
  () =>
    redis(options as { url: string });

test('an address is needed, one of them, and never repeated in a message', () => {
  for (const options of [
    {},
    { url, cluster: [url] },
    { url: 'http://user:hunter2@host' },
    { url: 'redis://' },
    { url: 'redis://user:hunter2%zz@host' },
    { url: 'redis://user:hunter2@host/name' },
    { url: 'redis://user:hunter2@host/-1' },
    { cluster: [] },
    { cluster: [url, 'nowhere'] },
  ]) {
    expect(given(options)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(given(options)).not.toThrow(/hunter2/);
  }
});

test('what cannot be an option or a target is refused with its path', () => {
  expect(given({ url, prefx: 'a:' })).toThrow(
    expect.objectContaining({
      code: 'CONFIG_UNKNOWN_OPTION',
      message: expect.stringContaining('did you mean prefix') as string,
    }),
  );
  for (const options of [
    { url, prefix: 'a{b}' },
    { url, buckets: 0 },
    { url, rowBytesMax: 1 },
    { url, eviction: 'yes' },
    { url, targets: { 'a:b': json() } },
    { url, targets: { a: {} } },
    { url, targets: { a: sortedSet({ score: 'n' }) }, buckets: 2 },
  ])
    expect(given(options)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  expect(() => hash({ fields: { a: 'txt' as 'text' } })).toThrow(/did you mean text/);
});

test('rows are under plain names on one server, and under the tag of their bucket elsewhere', () => {
  expect(checkRedisOptions({ url, prefix: 'shop:' }).names.rowPrefix('items', 0)).toBe(
    'shop:items:',
  );
  expect(checkRedisOptions({ cluster: [url] }).names.rowPrefix('items', 0)).toBe('items:{0}:');
  const { names } = checkRedisOptions({ url, buckets: 16 });
  expect(names.rowPrefix('items', 3)).toBe('items:{3}:');
  // 12739 is the slot of this text in the specification of Redis Cluster.
  expect(names.bucketOf('123456789')).toBe(12_739 % 16);
});

test('a driver that is not installed is named with the command that installs it', async () => {
  await expect(loadDriver(() => Promise.reject(new Error('no such module')))).rejects.toMatchObject(
    {
      code: 'DRIVER_MISSING',
      message: expect.stringContaining('npm install redis') as string,
    },
  );
});

test('failures of Redis are told apart by what a caller can do', () => {
  const codes = {
    'OOM command not allowed': 'STORE_FULL',
    'MISCONF Redis is configured to save': 'STORE_FULL',
    'NOAUTH Authentication required.': 'STORE_UNREACHABLE',
    'WRONGPASS invalid username-password pair': 'STORE_UNREACHABLE',
    'READONLY You cannot write against a read only replica.': 'STORE_UNREACHABLE',
    'LOADING Redis is loading the dataset in memory': 'STORE_BUSY',
    'BUSY Redis is busy running a script.': 'STORE_BUSY',
    'CLUSTERDOWN The cluster is down': 'STORE_UNREACHABLE',
    'MOVED 1 127.0.0.1:7001': 'CONFIG_INVALID',
    'ERR DB index is out of range': 'CONFIG_INVALID',
    "ERR unknown command 'EVALSHA', with args beginning with: '1'": 'CAPABILITY_MISSING',
    "NOPERM User u has no permissions to run the 'info' command": 'STORE_UNREACHABLE',
    'ERR Error running script: Script killed by user with SCRIPT KILL': 'STORE_BUSY',
    'WRONGTYPE Operation against a key': 'CONFIG_INVALID',
  };
  for (const [message, code] of Object.entries(codes))
    expect(redisError(new Error(message), 'store cache')).toMatchObject({ code });
  const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  expect(redisError(new AggregateError([refused]), 'store cache')).toMatchObject({
    code: 'STORE_UNREACHABLE',
    retryable: true,
  });
  const other = new Error('ERR no such thing');
  expect(redisError(other, 'store cache')).toBe(other);
  expect(replyWord(new Error('NOSCRIPT No matching script.'))).toBe('NOSCRIPT');
});
