import { script, type Script } from '../script.ts';

/*
 * A stream for groups of consumers: KEYS[1], entries with the fields k (the idempotency key) and v (the canonical text
 * of the value).
 */

/** Removes, some at a time, what every group has acknowledged; nothing while there is no group. */
const LET_GO = `
local function letGo()
  if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
  local ms, seq
  for _, said in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = {}
    for at = 1, #said - 1, 2 do group[said[at]] = said[at + 1] end
    local pending = redis.call('XPENDING', KEYS[1], group['name'])
    local first = pending[1] > 0 and pending[2] or group['last-delivered-id']
    local m, s = string.match(first, '^(%d+)-(%d+)$')
    m, s = tonumber(m), tonumber(s) + (pending[1] > 0 and 0 or 1)
    if not ms or m < ms or (m == ms and s < seq) then ms, seq = m, s end
  end
  if not ms then return 0 end
  local least = string.format('%.0f-%.0f', ms, seq)
  local removed = redis.call('XTRIM', KEYS[1], 'MINID', '~', least, 'LIMIT', 10000)
  if removed == 0 then removed = redis.call('XTRIM', KEYS[1], 'MINID', least) end
  return removed
end
`;

/** ARGV: most entries, then k and v of each. Answers the ids, or, if they do not fit, how many there are. */
export const PUBLISH: Script = script(`${LET_GO}
local count = (#ARGV - 1) / 2
local max = tonumber(ARGV[1])
while redis.call('XLEN', KEYS[1]) + count > max do
  if letGo() == 0 then return redis.call('XLEN', KEYS[1]) end
end
local ids = {}
for at = 2, #ARGV - 1, 2 do
  ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'k', ARGV[at], 'v', ARGV[at + 1])
end
return ids
`);

export const TRIM: Script = script(`${LET_GO}
return letGo()
`);

/** ARGV: group, consumer, most entries. Answers id, deliveries, k, v of each, or the id that the stream ends with. */
export const READ_GROUP: Script = script(`
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
if not reply then
  local said = redis.call('XINFO', 'STREAM', KEYS[1])
  for at = 1, #said - 1, 2 do
    if said[at] == 'last-generated-id' then return said[at + 1] end
  end
end
local answer = {}
for _, entry in ipairs(reply[1][2]) do
  for _, part in ipairs({entry[1], '1', entry[2][2] or '', entry[2][4] or ''}) do answer[#answer + 1] = part end
end
return answer
`);

/** ARGV: group, consumer, idle for, cursor, most entries. Answers the cursor, then id, deliveries, k, v of each. */
export const CLAIM: Script = script(`
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
local answer = {reply[1]}
for _, entry in ipairs(reply[2]) do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)[1]
  local deliveries = tostring(pending and pending[4] or 1)
  for _, part in ipairs({entry[1], deliveries, entry[2][2] or '', entry[2][4] or ''}) do answer[#answer + 1] = part end
end
return answer
`);
