import { script, type Script } from '../script.ts';

/*
 * KEYS: marker, horizon, counter of tokens, lock taken, lock released, then those of the work; the marker again in the
 * place of a lock that is not asked for.
 * ARGV: saga's start, retention and margin in ms; owner, ttl and token of the lock; owner of the lock to release; digest
 * of the effect's name; the most bytes of a result; what a lock's key starts with, the resource; then those of the work.
 *
 * A marker is `<state>;<resource of its lock in hexadecimal>;<text>`: the result, or the error that tore it. It lives a margin longer than the retention,
 * counted from the later of the saga's start and now, so that a do which finds none is either the first or is seen to
 * be too old, even if the clock was set back by less than the margin. What is pruned by hand leaves a horizon.
 *
 * A lock is `<token>;<name of the effect>;<owner>`, and ends by itself.
 *
 * Redis does not take back what a script had written when it failed. So what fails in the middle is marked as torn, and
 * is neither done again nor undone without a person. `#!lua` lets Redis refuse the whole script when it is full.
 */
const PRELUDE = `#!lua
local startedAt, retention, margin = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local workKeys, workArgs = {}, {}
for i = 6, #KEYS do workKeys[i - 5] = KEYS[i] end
for i = 12, #ARGV do workArgs[i - 11] = ARGV[i] end
local function mark(state, resource, text)
  local expires = math.max(now, startedAt) + retention + margin
  redis.call('SET', KEYS[1], state .. ';' .. resource .. ';' .. text, 'PXAT', string.format('%.0f', expires))
end
local function isOld()
  local horizon = math.max(now - retention, tonumber(redis.call('GET', KEYS[2]) or 0))
  return startedAt < horizon
end
local function lockAt(key)
  local text = redis.call('GET', key)
  if not text then return nil end
  local token, effect, owner = string.match(text, '^(%d+);(%x+);(.*)$')
  return { token = tonumber(token), effect = effect, owner = owner, ttl = redis.call('PTTL', key) }
end
local effect = ARGV[8]
local held = redis.call('GET', KEYS[1])
local state, resource, text
if held then state, resource, text = string.match(held, '^(%l+);(%x*);(.*)$') end
local function lockOfEffect()
  if resource == '' then return nil end
  local name = string.gsub(resource, '%x%x', function(byte) return string.char(tonumber(byte, 16)) end)
  local lock = lockAt(ARGV[10] .. name)
  if lock and lock.effect == effect then
    lock.key, lock.resource = ARGV[10] .. name, name
    return lock
  end
end
`;

/** Runs a work once. Answers a list that begins with the kind of the outcome. */
const DO = `
if state == 'done' then
  local lock = lockOfEffect()
  if not lock then return { 'again', text } end
  local token, expires = string.format('%.0f', lock.token), string.format('%.0f', now + lock.ttl)
  return { 'again', text, token, expires, lock.owner, lock.resource }
end
if state == 'torn' then return { 'torn', text } end
if state == 'undone' then return { 'undone' } end
if isOld() then return { 'forgotten' } end
local token, expires
local taken = ''
if ARGV[4] ~= '' then
  local lock = lockAt(KEYS[4])
  local owner, ttl = ARGV[4], tonumber(ARGV[5])
  if ARGV[6] ~= '' and (not lock or lock.owner ~= owner or lock.token ~= tonumber(ARGV[6])) then
    return { 'fenced' }
  end
  if lock and lock.owner ~= owner then
    return { 'locked', '', string.format('%.0f', lock.token), string.format('%.0f', now + lock.ttl), lock.owner, ARGV[11] }
  end
  local by = effect
  if lock then
    token, by, ttl = lock.token, lock.effect, math.max(ttl, lock.ttl)
  else
    taken = string.gsub(ARGV[11], '.', function(byte) return string.format('%02x', string.byte(byte)) end)
    -- The clock lets tokens grow though the counter is lost.
    token = math.max(now, tonumber(redis.call('GET', KEYS[3]) or 0) + 1)
  end
  expires = string.format('%.0f', now + ttl)
  token = string.format('%.0f', token)
  if not lock then redis.call('SET', KEYS[3], token) end
  redis.call('SET', KEYS[4], token .. ';' .. by .. ';' .. owner, 'PXAT', expires)
end
local function work(KEYS, ARGV)
--WORK--
end
local ok, result, refusal = pcall(work, workKeys, workArgs)
if not ok then
  local message = type(result) == 'table' and result.err or tostring(result)
  mark('torn', taken, message)
  return { 'torn', message }
end
if refusal ~= nil then
  if taken ~= '' then redis.call('DEL', KEYS[4]) end
  return { 'refused', tostring(refusal) }
end
if result == nil or result == false then result = 'null' end
if type(result) ~= 'string' or #result > tonumber(ARGV[9]) then
  mark('torn', taken, 'the work returned no text, or one that is too long to keep')
  return { 'torn', 'the work returned no text, or one that is too long to keep' }
end
mark('done', taken, result)
if ARGV[7] ~= '' then
  local lock = lockAt(KEYS[5])
  if lock and lock.owner == ARGV[7] then redis.call('DEL', KEYS[5]) end
end
if not token then return { 'done', result } end
return { 'done', result, token, expires, ARGV[4], ARGV[11] }
`;

/** Takes an effect back once, or leaves the marker that refuses it. */
const UNDO = `
if state == 'undone' then return { 'again' } end
if state == 'torn' then return { 'torn', text } end
if not state then
  if isOld() then return { 'forgotten' } end
  mark('undone', '', '')
  return { 'nothing' }
end
local function work(KEYS, ARGV, RESULT)
--WORK--
end
local ok, message = pcall(work, workKeys, workArgs, text)
if not ok then
  if type(message) == 'table' then message = message.err end
  mark('torn', resource, 'undo: ' .. tostring(message))
  return { 'torn', tostring(message) }
end
local lock = lockOfEffect()
if lock then redis.call('DEL', lock.key) end
mark('undone', '', '')
return { 'undone' }
`;

/** What is known of an effect. */
export const PROBE: Script = script(`${PRELUDE}
if state then return { state, text } end
if isOld() then return { 'forgotten' } end
return { 'absent' }
`);

/** Who holds a lock. */
export const HOLDER: Script = script(`
local text = redis.call('GET', KEYS[1])
if not text then return false end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local token, _, owner = string.match(text, '^(%d+);(%x+);(.*)$')
return { owner, token, string.format('%.0f', now + redis.call('PTTL', KEYS[1])) }
`);

/** Removes one marker, and keeps in mind that it is gone: KEYS marker, horizon; ARGV before, until when that matters. */
export const FORGET: Script = script(`
local horizon = tonumber(redis.call('GET', KEYS[2]) or 0)
if tonumber(ARGV[1]) > horizon then redis.call('SET', KEYS[2], ARGV[1], 'PXAT', ARGV[2]) end
return redis.call('DEL', KEYS[1])
`);

/** Scripts that were made of works; an application has as many as it has steps. */
const SCRIPTS_MAX = 256;
const made = new Map<string, Script>();

/** The script around the Lua of a work. */
export function around(kind: 'do' | 'undo', lua: string): Script {
  const name = `${kind} ${lua}`;
  const known = made.get(name);
  if (known !== undefined) return known;
  // As a function: `$&` and the like in the work are its own.
  const body = (kind === 'do' ? DO : UNDO).replace('--WORK--', () => lua);
  const whole = script(PRELUDE + body);
  if (made.size >= SCRIPTS_MAX) {
    const oldest = made.keys().next();
    if (oldest.done !== true) made.delete(oldest.value);
  }
  made.set(name, whole);
  return whole;
}
