import { script, type Script } from '../script.ts';

/*
 * A log is two keys in one slot. KEYS[1], a hash:
 *   id      of this log, made when it began; another one is another log
 *   epoch   of the lease that its appender was opened under, and `token` of that appender
 *   run     of the server that it was opened on
 *   first, next   log offsets: the oldest kept, the next one to be written
 *   count   records in the stream, by which it is noticed that somebody else has changed it
 *   total, base   bytes appended since the log began, and those of them that were let go of
 *   last    identity of the last record
 *   commit  the last commit record: its identity, a line feed, its payload
 * KEYS[2], a stream. The record at log offset n has the id <n + 1>-0 (0-0 is no id), so that appending twice
 * is refused by Redis itself, and two fields: i, `<kind>:<epoch>:<offset>:<ordinal>:<total after it>`, and p.
 *
 * Numbers are doubles in Lua: all of these are below 2^53, and '%.0f' writes them whole.
 */

/** What a record costs beside its payload. */
const RECORD_BYTES = 40;

/**
 * Where offsets go on after records may have been lost. They are never given out a second time. Otherwise:
 * 1. a reader has read 99  2. Redis restarts with 80  3. what is read from the source again comes to lie a little
 * earlier, since there was a marker less  4. the reader goes on at 100, and has missed one. Now it goes on at the
 * leap, where all of that is, and drops what it had by identity. Two million leaps fit below 2^53.
 *
 * The first record after a leap is the last commit once more: every reader drops it, but has then passed the leap, also
 * if nothing else comes for a while.
 */
const LEAP = 2 ** 32;

/**
 * Opens an appender. ARGV: epoch, token, id for a log that begins, the highest `next` that the caller has seen.
 * Answers `fenced` and the present epoch, or `open`, next, id, last, commit.
 */
export const OPEN: Script = script(`
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local s = redis.call('HMGET', KEYS[1], 'epoch', 'next', 'count', 'run', 'total', 'id', 'last', 'commit')
if s[1] and tonumber(ARGV[1]) < tonumber(s[1]) then return {'fenced', s[1]} end
local length = redis.call('XLEN', KEYS[2])
local held = tonumber(s[2] or 0)
local next = held
local id = s[6] or ARGV[3]
if not s[1] or length ~= tonumber(s[3]) then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'id', id, 'first', string.format('%.0f', held), 'count', '0',
    'total', s[5] or '0', 'base', s[5] or '0')
  if length > 0 or s[1] then next = math.max(next, 1) end
end
if run ~= s[4] or length ~= tonumber(s[3] or 0) or held < tonumber(ARGV[4]) then
  local reached = math.max(next, tonumber(ARGV[4]))
  if reached > 0 then next = (math.floor(reached / ${LEAP}) + 1) * ${LEAP} end
end
if next > held and s[8] then
  local fields, payload = string.match(s[8], '^(.-)\\n(.*)$')
  local total = tonumber(redis.call('HGET', KEYS[1], 'total')) + ${RECORD_BYTES} + #payload
  next = next + 1
  redis.call('XADD', KEYS[2], string.format('%.0f-0', next), 'i', fields .. ':' .. string.format('%.0f', total), 'p', payload)
  redis.call('HINCRBY', KEYS[1], 'count', 1)
  redis.call('HSET', KEYS[1], 'total', string.format('%.0f', total))
end
local text = string.format('%.0f', next)
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'token', ARGV[2], 'run', run, 'next', text)
return {'open', text, id, s[7] or '', s[8] or ''}
`);

/**
 * Appends calls, each whole or not at all, in order, up to the first that does not fit. ARGV: token, expected
 * next, bound in bytes or 0, number of calls, number of records of each, then i and p of each record.
 * Answers `fenced` and the epoch, `lost` and the next there is, or `ok`, calls appended, next, bytes.
 */
export const APPEND: Script = script(`
local s = redis.call('HMGET', KEYS[1], 'token', 'epoch', 'next', 'total', 'base', 'count')
if not s[1] then return {'lost', '0'} end
if s[1] ~= ARGV[1] then return {'fenced', s[2]} end
local count = tonumber(s[6])
if s[3] ~= ARGV[2] or redis.call('XLEN', KEYS[2]) ~= count then return {'lost', s[3]} end
local next, total, base, bound = tonumber(s[3]), tonumber(s[4]), tonumber(s[5]), tonumber(ARGV[3])
local calls = tonumber(ARGV[4])
local at = 5 + calls
local done, last, commit = 0, nil, nil
for call = 1, calls do
  local records = tonumber(ARGV[4 + call])
  local bytes = 0
  for record = at, at + 2 * records - 2, 2 do bytes = bytes + ${RECORD_BYTES} + #ARGV[record + 1] end
  if records > 0 and bound > 0 and total - base + bytes > bound then break end
  for record = at, at + 2 * records - 2, 2 do
    total = total + ${RECORD_BYTES} + #ARGV[record + 1]
    next = next + 1
    redis.call('XADD', KEYS[2], string.format('%.0f-0', next),
      'i', ARGV[record] .. ':' .. string.format('%.0f', total), 'p', ARGV[record + 1])
    last = record
    local kind = string.byte(ARGV[record])
    if kind == 107 or kind == 75 then commit = record end
  end
  count = count + records
  at = at + 2 * records
  done = call
end
if last then
  redis.call('HSET', KEYS[1], 'next', string.format('%.0f', next), 'total', string.format('%.0f', total),
    'count', string.format('%.0f', count), 'last', ARGV[last])
end
if commit then redis.call('HSET', KEYS[1], 'commit', ARGV[commit] .. '\\n' .. ARGV[commit + 1]) end
return {'ok', done, string.format('%.0f', next), string.format('%.0f', total - base)}
`);

/**
 * Reads records without a gap between them. ARGV: from, most records, most bytes. Answers id and next, then
 * `truncated` and first, `wait` if there is nothing yet, `lost` if there should be, or `ok`, the offset of the
 * first record and i, p of each.
 */
export const READ: Script = script(`
local s = redis.call('HMGET', KEYS[1], 'id', 'next', 'first')
local from, records, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local id, next = s[1] or '', s[2] or '0'
if from < tonumber(s[3] or 0) then return {id, next, 'truncated', s[3]} end
if from >= tonumber(next) then return {id, next, 'wait'} end
local answer = {id, next, 'ok', ''}
local start, found, size, chunk, offset = string.format('%.0f-0', from + 1), 0, 0, 8, nil
while found < records do
  local entries = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', math.min(chunk, records - found))
  for _, entry in ipairs(entries) do
    local here = tonumber(string.match(entry[1], '^%d+')) - 1
    local payload = entry[2][4]
    if found > 0 and (size + #payload > bytes or here ~= offset + 1) then return answer end
    if found == 0 then answer[4] = string.format('%.0f', here) end
    found, size, offset = found + 1, size + #payload, here
    answer[#answer + 1] = entry[2][2]
    answer[#answer + 1] = payload
  end
  if #entries < chunk then break end
  start = '(' .. entries[#entries][1]
  chunk = math.max(1, math.min(512, math.floor((bytes - size) / (size / found + 1)) + 1))
end
if found > 0 then return answer end
-- Nothing from here on, though the log says so: before a leap that nothing follows yet, or it was taken away.
if redis.call('XLEN', KEYS[2]) == tonumber(redis.call('HGET', KEYS[1], 'count')) then return {id, next, 'wait'} end
return {id, next, 'lost'}
`);

/**
 * Lets go of records before an offset. ARGV: offset, most records of one step. Answers whether there is more.
 * Whole nodes of the stream first, a bounded number at a time; what is left of the last one at the end.
 */
export const RELEASE: Script = script(`
local s = redis.call('HMGET', KEYS[1], 'first', 'next', 'count', 'total')
if not s[1] then return 0 end
local to = math.min(tonumber(ARGV[1]), tonumber(s[2]))
if to <= tonumber(s[1]) then return 0 end
local least = string.format('%.0f-0', to + 1)
local removed = redis.call('XTRIM', KEYS[2], 'MINID', '~', least, 'LIMIT', ARGV[2])
local more = removed > 0
if not more then removed = redis.call('XTRIM', KEYS[2], 'MINID', least) end
local first, base = to, s[4]
local entry = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if entry then
  first = math.min(to, tonumber(string.match(entry[1], '^%d+')) - 1)
  base = string.format('%.0f', tonumber(string.match(entry[2][2], '(%d+)$')) - ${RECORD_BYTES} - #entry[2][4])
end
redis.call('HSET', KEYS[1], 'first', string.format('%.0f', first), 'base', base,
  'count', string.format('%.0f', tonumber(s[3]) - removed))
return more and 1 or 0
`);
