import { script, type Script } from '../script.ts';

/*
 * Keys of a cache, behind its root: `e` and the key for an entry, `l` for who loads it (or why nobody may), `d` for the fence
 * of its last invalidation; `t` and a tag for the sequence at which it was invalidated, `i` and a tag for those who are told;
 * `a` for the sequence at which everything was, `s` for the sequence itself, `r` for the run of the server; `p:` and a holder
 * for the channel on which it listens as long as it lives.
 *
 * An entry is text: born (16 digits), stored at (13), fresh until (13), then what the caller made of it: load time (8), fence
 * (20, or hyphens), lengths of tags and note (5 each), these, and the payload. Times are the server's milliseconds.
 *
 * The sequence only grows: it is never below the microseconds of the server's clock when it is made anew, so that losing it
 * (an eviction) gives no number out twice. A missing `a` or `t` is an invalidation that may have been lost: it counts as one.
 */
const COMMON = `#!lua
local call, sub, match = redis.call, string.sub, string.match
local root = KEYS[1]
local function digits(n) return string.format('%.0f', n) end
local time = call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local ms = math.floor(micros / 1000)
local function lives(holder) return call('PUBSUB', 'NUMSUB', root .. 'p:' .. holder)[2] > 0 end
local function sequence()
  local text = call('GET', root .. 's')
  if text then return tonumber(text) end
  call('SET', root .. 's', digits(micros))
  return micros
end
local function advance()
  local text = call('GET', root .. 's')
  local value = math.max((tonumber(text or '0')) + 1, micros)
  call('SET', root .. 's', digits(value))
  return value
end
local function all()
  local text = call('GET', root .. 'a')
  if text then return tonumber(text) end
  local value = advance()
  call('SET', root .. 'a', digits(value))
  return value
end
local function wake(key, held)
  if not held or sub(held, 1, 1) ~= 'L' then return end
  for waiter in string.gmatch(held, ',([^,]+)') do
    call('PUBLISH', root .. 'p:' .. waiter, key)
  end
end
local function isInvalidated(tags, born)
  for tag in string.gmatch(tags, '%S+') do
    local at = call('GET', root .. 't' .. tag)
    if not at or tonumber(at) > born then return true end
  end
  return false
end
`;

/**
 * Looks for keys and grants leases. KEYS: root. ARGV: holder, wish, early, time of a lease, beginning of its token, keys.
 * Answers the time, then the entries, then a place and an answer for each lease there is something to say of. False: this
 * holder is not listening.
 */
export const getMany: Script = script(`${COMMON}
local holder, wish, early = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not lives(holder) then return false end
local names = {}
for i = 6, #ARGV do names[i - 5] = root .. 'e' .. ARGV[i] end
local held, everything = call('MGET', unpack(names)), all()
local out, leases = { ms }, {}
for i = 1, #names do
  local entry, freshFor, loadMs = held[i], 0, 0
  if entry then
    local born = tonumber(sub(entry, 1, 16))
    local length = tonumber(sub(entry, 71, 75))
    if born < everything or (length > 0 and isInvalidated(sub(entry, 81, 80 + length), born)) then
      entry = false
    else
      freshFor = tonumber(sub(entry, 30, 42)) - ms
      if early > 0 then loadMs = tonumber(sub(entry, 43, 50)) end
    end
  end
  out[i + 1] = entry
  local isFresh = entry and freshFor > 0
  if wish == 'always' or (wish == 'due' and (not isFresh or freshFor < early * loadMs)) then
    local name = root .. 'l' .. ARGV[i + 5]
    local lease = call('GET', name)
    local kind = lease and sub(lease, 1, 1)
    local token, owner
    if kind == 'L' then
      token, owner = match(lease, '^L(%S+) (%S+) ')
      if not lives(owner) then kind = false end
    end
    local answer
    if not kind then
      token = ARGV[5] .. ':' .. i
      call('SET', name, 'L' .. token .. ' ' .. holder .. ' ' .. digits(sequence()) .. ' ', 'PX', ARGV[4])
      answer = 'L' .. token
    elseif not isFresh or wish == 'always' then
      if kind == 'L' then
        answer = 'H' .. token
        if not string.find(lease, ',' .. holder, 1, true) then call('APPEND', name, ',' .. holder) end
      elseif kind == 'F' then
        answer = 'F' .. call('PTTL', name) .. ' ' .. sub(lease, 2)
      else
        answer = 'B'
      end
    end
    if answer then
      leases[#leases + 1] = i
      leases[#leases + 1] = answer
    end
  end
end
for i = 1, #leases do out[#names + 1 + i] = leases[i] end
return out
`);

const STORE = `
-- What a value says of itself: fence and tags stand at fixed places of the head.
local function store(key, born, freshMs, keepMs, head, payload)
  local name, fence = root .. 'e' .. key, sub(head, 9, 28)
  local hasFence = sub(fence, 1, 1) ~= '-'
  if hasFence then
    local dead = call('GET', root .. 'd' .. key)
    if dead and fence < dead then return 'older' end
    local present = call('GETRANGE', name, 50, 69)
    if present ~= '' and sub(present, 1, 1) ~= '-' and fence < present then return 'older' end
  end
  local keep = math.max(1, math.ceil(keepMs))
  for tag in string.gmatch(sub(head, 39, 38 + tonumber(sub(head, 29, 33))), '%S+') do
    -- The record of a tag has to be there for as long as an entry is, and is no invalidation itself.
    local record = root .. 't' .. tag
    if not call('SET', record, digits(born), 'NX', 'PX', keep + 60000) then
      call('PEXPIRE', record, keep + 60000, 'GT')
    end
  end
  call('SET', name, string.format('%016.0f%013.0f%013.0f', born, ms, ms + freshMs) .. head .. payload,
    'PX', keep)
  return 'stored'
end
`;

/** Stores what was loaded. KEYS: root. ARGV: of each fill its key, lease, fresh and keeping time, head, payload. */
export const fillMany: Script = script(`${COMMON}${STORE}
local everything, out = all(), {}
for at = 1, #ARGV, 6 do
  local key, name = ARGV[at], root .. 'l' .. ARGV[at]
  local lease = call('GET', name)
  local token, born = match(lease or '', '^L(%S+) %S+ (%d+) ')
  local outcome = 'voided'
  if token == ARGV[at + 1] then
    born = tonumber(born)
    local head = ARGV[at + 4]
    local tags = sub(head, 39, 38 + tonumber(sub(head, 29, 33)))
    local isVoid = born < everything
    for tag in string.gmatch(tags, '%S+') do
      local invalidated = call('GET', root .. 't' .. tag)
      if invalidated and tonumber(invalidated) > born then isVoid = true end
    end
    if not isVoid then
      outcome = store(key, born, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), head, ARGV[at + 5])
    end
    call('DEL', name)
    wake(key, lease)
  end
  out[#out + 1] = outcome
end
return out
`);

/** Stores values that nobody loaded. KEYS: root. ARGV: of each its key, fresh and keeping time, head, payload. */
export const putMany: Script = script(`${COMMON}${STORE}
all()
local born, out = sequence(), {}
for at = 1, #ARGV, 5 do
  local key, name = ARGV[at], root .. 'l' .. ARGV[at]
  local lease = call('GET', name)
  local tags = sub(ARGV[at + 3], 39, 38 + tonumber(sub(ARGV[at + 3], 29, 33)))
  for tag in string.gmatch(tags, '%S+') do
    -- A record that another entry left behind may be younger than the sequence that was lost and made anew.
    local known = call('GET', root .. 't' .. tag)
    if known and tonumber(known) > born then
      born = tonumber(known)
      call('SET', root .. 's', digits(born))
    end
  end
  out[#out + 1] = store(key, born, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4])
  if lease then
    call('DEL', name)
    wake(key, lease)
  end
end
return out
`);

/** Gives a lease back. KEYS: root. ARGV: key, lease, time of a failure or '', its reason. */
export const release: Script = script(`${COMMON}
local name = root .. 'l' .. ARGV[1]
local lease = call('GET', name)
if match(lease or '', '^L(%S+) ') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then call('DEL', name) else call('SET', name, 'F' .. ARGV[4], 'PX', ARGV[3]) end
wake(ARGV[1], lease)
return 1
`);

/** Invalidates keys. KEYS: root. ARGV: fence or '', `delete` or `expire`, time of a bar or '', time of a tombstone, keys. */
export const invalidate: Script = script(`${COMMON}
local fence, as, bar = ARGV[1], ARGV[2], ARGV[3]
for i = 5, #ARGV do
  local key = ARGV[i]
  local entry, isKept = root .. 'e' .. key, false
  if fence ~= '' then
    local dead = call('GET', root .. 'd' .. key)
    if not dead or dead <= fence then call('SET', root .. 'd' .. key, fence, 'PX', ARGV[4]) end
    local present = call('GETRANGE', entry, 50, 69)
    isKept = present ~= '' and sub(present, 1, 1) ~= '-' and present >= fence
  end
  if not isKept then
    if as == 'delete' then
      call('DEL', entry)
    elseif call('EXISTS', entry) == 1 then
      call('SETRANGE', entry, 29, string.format('%013.0f', ms))
    end
    local name = root .. 'l' .. key
    local lease = call('GET', name)
    if bar ~= '' then
      call('SET', name, 'B', 'PX', bar)
    elseif lease then
      call('DEL', name)
    end
    wake(key, lease)
  end
end
return 1
`);

/** Invalidates tags. KEYS: root. ARGV: tags. Their records last for ever unless an entry gives them an end: there are as many as tags. */
export const invalidateTags: Script = script(`${COMMON}
local at = digits(advance())
for i = 1, #ARGV do
  -- An hour is longer than any lease; what is stored later makes the record last as long as its entry.
  local left = math.max(call('PTTL', root .. 't' .. ARGV[i]), 3600000)
  call('SET', root .. 't' .. ARGV[i], at, 'PX', left)
  call('SET', root .. 'i' .. ARGV[i], at, 'PX', 60000)
end
return 1
`);

/** Invalidates everything. KEYS: root. */
export const invalidateAll: Script = script(`${COMMON}
call('SET', root .. 'a', digits(advance()))
return 1
`);

/** Which leases are over. KEYS: root. ARGV: pairs of key and lease. Answers their places, from 0. */
export const overLeases: Script = script(`${COMMON}
local out = {}
for at = 1, #ARGV, 2 do
  local token, owner = match(call('GET', root .. 'l' .. ARGV[at]) or '', '^L(%S+) (%S+) ')
  if token ~= ARGV[at + 1] or not lives(owner) then out[#out + 1] = (at - 1) / 2 end
end
return out
`);

/**
 * Before a holder listens. KEYS: root. ARGV: the run of the server. One that was restarted or has taken over may lack
 * invalidations that were answered: everything from before is invalid then.
 */
export const claim: Script = script(`${COMMON}
if call('GET', root .. 'r') == ARGV[1] then return 0 end
call('SET', root .. 'a', digits(advance()))
call('SET', root .. 'r', ARGV[1])
return 1
`);
