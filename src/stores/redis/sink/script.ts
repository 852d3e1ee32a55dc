import { script, type Script } from '../script.ts';

// Scripts declare all keys that they touch, but for sorted sets that a row stood in before, which are in the same
// slot.

/**
 * Every script of a session begins with this. KEYS[1] is the flow's record, ARGV[1] the worker's epoch, ARGV[2]
 * and ARGV[3] the marks of which the record must hold one. A record without an epoch, of an older epoch or with
 * another mark is not what this session left: Redis was emptied, restored or failed over.
 */
const GUARD = `#!lua
local call, sub, byte = redis.call, string.sub, string.byte
local head = call('HMGET', KEYS[1], 'epoch', 'mark')
local epoch, mark = tonumber(head[1] or '-1'), head[2] or ''
if epoch > tonumber(ARGV[1]) then return {'fenced', head[1]} end
if epoch < tonumber(ARGV[1]) or (mark ~= ARGV[2] and mark ~= ARGV[3]) then
  return {'moved', head[1] or '', mark}
end
`;

/**
 * Takes a bucket of a flow for a worker. KEYS: record. ARGV: epoch, generation. Answers its mark and checkpoint.
 */
export const claim: Script = script(`#!lua
local held = redis.call('HMGET', KEYS[1], 'epoch', 'generation', 'mark', 'checkpoint')
if held[1] and tonumber(held[1]) > tonumber(ARGV[1]) then return {'fenced', held[1]} end
if held[2] and held[2] ~= ARGV[2] then return {'generation', held[2]} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'generation', ARGV[2])
return {'ok', held[3] or '', held[4] or ''}
`);

/** Notes which flow fills which targets, and as what. KEYS: targets. ARGV: pairs of target and `flow kind`. */
export const register: Script = script(`#!lua
for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if held and held ~= ARGV[i + 1] then return {'taken', ARGV[i], held} end
end
redis.call('HSET', KEYS[1], unpack(ARGV))
return {'ok'}
`);

/** Looks whether the session still holds its flow. KEYS: record. ARGV: as the guard says. */
export const look: Script = script(`${GUARD}
return {'ok'}
`);

/**
 * Applies a part of a batch; all of it, or nothing: whatever could be refused is looked at before the first write
 * (a key of another kind, memory that is used up), since a script that fails is not rolled back.
 *
 * ARGV behind the guard's: the next mark (empty: the checkpoint stays), the checkpoint, the number of pieces of
 * fold state and for each its name and '=value' or '-'; the number of blocks, and these. A block has rows that
 * are written the same way: its operation, number of rows, '1' if repairs, what stands behind the digits of
 * their fences, values per row, time to live in ms or ''; then all names, all fences, all values. KEYS behind the
 * record and the fold state: for each block fences, tombstones, expiries, then its rows and, of an indexed one,
 * their sorted sets.
 */
export const apply: Script = script(`${GUARD}
local states, first = tonumber(ARGV[6]), 6
if states > 0 then call('HLEN', KEYS[2]) end
local at, key = first + 2 * states + 1, 2
local plan, applied = {}, 0
for b = 1, tonumber(ARGV[at]) do
  local op, n, repair, suffix = ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3] == '1', ARGV[at + 4]
  local width, ttl = tonumber(ARGV[at + 5]), ARGV[at + 6]
  local names = at + 6
  local versions = names + n
  local values = versions + n
  at = values + n * width
  local fences, dead, expiry, rows = KEYS[key + 1], KEYS[key + 2], KEYS[key + 3], key + 3
  key = rows + n
  local sets = key
  if op == 'index' then key = key + n end
  local held = call('HMGET', fences, unpack(ARGV, names + 1, names + n))
  local put, args, taken, risen, left, p, t = {}, {}, {}, nil, nil, 0, 0
  local seen
  local pairwise, listed = op == 'set' or op == 'index', op ~= 'set' or ttl ~= ''
  for i = 1, n do
    local old, fence = held[i], ARGV[versions + i]
    if not old or old < fence or (repair and sub(old, 1, 30) == fence) then
      local name = ARGV[names + i]
      p = p + 2
      put[p - 1] = name
      if suffix == '' then put[p] = fence else put[p] = fence .. suffix end
      if pairwise then
        args[p - 1] = KEYS[rows + i]
        args[p] = ARGV[values + (i - 1) * width + 1]
        if op == 'index' and ARGV[values + i * 2] ~= '' then
          put[p] = put[p] .. '+' .. KEYS[sets + i]
          if KEYS[sets + i] ~= seen then
            seen = KEYS[sets + i]
            call('ZCARD', seen)
          end
        end
      end
      if listed then t = t + 1; taken[t] = i end
      if old and #old > 30 then
        if byte(old, 31) == 45 then
          risen = risen or {}
          risen[#risen + 1] = sub(old, 1, 30) .. name
        else
          local plus = string.find(old, '+', 31, true)
          if plus then
            left = left or {}
            left[#left + 1] = {sub(old, plus + 1), name}
            call('ZCARD', sub(old, plus + 1))
          end
        end
      end
    end
  end
  if p > 0 then
    applied = applied + p / 2
    if risen or op == 'del' then call('ZCARD', dead) end
    if ttl ~= '' then call('ZCARD', expiry) end
    plan[#plan + 1] = {op = op, put = put, args = args, taken = taken, risen = risen, left = left, width = width,
      ttl = ttl, names = names, versions = versions, values = values, rows = rows, sets = sets,
      fences = fences, dead = dead, expiry = expiry}
  end
end
local now
for b = 1, #plan do
  local s = plan[b]
  local op, taken, rows, ttl, values, width = s.op, s.taken, s.rows, s.ttl, s.values, s.width
  if s.risen then call('ZREM', s.dead, unpack(s.risen)) end
  if s.left then
    for i = 1, #s.left do call('ZREM', s.left[i][1], s.left[i][2]) end
  end
  if op == 'hash' or op == 'del' then
    local gone = {}
    for i = 1, #taken do gone[i] = KEYS[rows + taken[i]] end
    call('DEL', unpack(gone))
  end
  if op == 'hash' then
    for i = 1, #taken do
      local from = values + (taken[i] - 1) * width
      local row = KEYS[rows + taken[i]]
      call('HSET', row, unpack(ARGV, from + 1, from + width))
      if ttl ~= '' then call('PEXPIRE', row, ttl) end
    end
  elseif op == 'del' then
    local graves = {}
    for i = 1, #taken do
      graves[2 * i - 1] = '0'
      graves[2 * i] = ARGV[s.versions + taken[i]] .. ARGV[s.names + taken[i]]
    end
    call('ZADD', s.dead, unpack(graves))
    if ttl ~= '' then
      for i = 1, #taken do call('ZREM', s.expiry, ARGV[s.names + taken[i]]) end
    end
  elseif op == 'set' and ttl ~= '' then
    for i = 1, #taken do call('SET', KEYS[rows + taken[i]], ARGV[values + taken[i]], 'PX', ttl) end
  else
    call('MSET', unpack(s.args))
    for i = 1, #taken do
      local score = ARGV[values + taken[i] * 2]
      if score ~= '' then call('ZADD', KEYS[s.sets + taken[i]], score, ARGV[s.names + taken[i]]) end
    end
  end
  if ttl ~= '' and op ~= 'del' then
    if not now then
      local time = call('TIME')
      now = tonumber(time[1]) * 1000 + math.ceil(tonumber(time[2]) / 1000)
    end
    local ends = {}
    for i = 1, #taken do
      ends[2 * i - 1] = string.format('%.0f', now + tonumber(ttl))
      ends[2 * i] = ARGV[s.names + taken[i]]
    end
    call('ZADD', s.expiry, unpack(ends))
  end
  call('HSET', s.fences, unpack(s.put))
end
for i = 1, states do
  local name, value = ARGV[first + 2 * i - 1], ARGV[first + 2 * i]
  if value == '-' then call('HDEL', KEYS[2], name) else call('HSET', KEYS[2], name, sub(value, 2)) end
end
if ARGV[4] ~= '' then call('HSET', KEYS[1], 'mark', ARGV[4], 'checkpoint', ARGV[5]) end
return {'ok', applied}
`);

/**
 * Removes rows. KEYS: record, fences, tombstones, expiries, then the rows. ARGV behind the guard's: the fence
 * before which a row goes (empty: any row does, and no trace stays), the fence of the tombstones, the names.
 * Answers how many went.
 */
export const remove: Script = script(`${GUARD}
local before, grave, n = ARGV[4], ARGV[5], #ARGV - 5
local held = call('HMGET', KEYS[2], unpack(ARGV, 6, #ARGV))
call('ZCARD', KEYS[3])
call('ZCARD', KEYS[4])
local gone = 0
for i = 1, n do
  local old, name = held[i], ARGV[5 + i]
  local is_dead = old and byte(old, 31) == 45
  if before == '' or (old and not is_dead and old < before) then
    call('UNLINK', KEYS[4 + i])
    local plus = old and string.find(old, '+', 31, true)
    if plus and not is_dead then call('ZREM', sub(old, plus + 1), name) end
    call('ZREM', KEYS[4], name)
    if before == '' then
      call('HDEL', KEYS[2], name)
    else
      call('ZADD', KEYS[3], '0', grave .. name)
      call('HSET', KEYS[2], name, grave .. '-')
    end
    gone = gone + 1
  end
end
return {'ok', gone}
`);

/**
 * Forgets some tombstones. KEYS: record, fences, tombstones. ARGV behind the guard's: the fence before which they
 * go, and how many at most. Answers how many went.
 */
export const prune: Script = script(`${GUARD}
local graves = call('ZRANGEBYLEX', KEYS[3], '-', '(' .. ARGV[4], 'LIMIT', '0', ARGV[5])
if #graves == 0 then return {'ok', 0} end
local names = {}
for i = 1, #graves do names[i] = sub(graves[i], 31) end
local held = call('HMGET', KEYS[2], unpack(names))
local gone = {}
for i = 1, #graves do
  if held[i] == sub(graves[i], 1, 30) .. '-' then gone[#gone + 1] = names[i] end
end
call('ZREM', KEYS[3], unpack(graves))
if #gone > 0 then call('HDEL', KEYS[2], unpack(gone)) end
return {'ok', #graves}
`);

/**
 * Forgets the fences of some rows that have expired. KEYS: record, fences, expiries. ARGV behind the guard's: the
 * fence before which they go, how many to pass over, how many to look at. Answers how many were looked at, and
 * how many went.
 */
export const expire: Script = script(`${GUARD}
local time = call('TIME')
local names = call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. time[1] .. '000', 'LIMIT', ARGV[5], ARGV[6])
if #names == 0 then return {'ok', 0, 0} end
local held = call('HMGET', KEYS[2], unpack(names))
local gone = {}
for i = 1, #names do
  if not held[i] or (byte(held[i], 31) ~= 45 and held[i] < ARGV[4]) then gone[#gone + 1] = names[i] end
end
if #gone > 0 then
  call('HDEL', KEYS[2], unpack(gone))
  call('ZREM', KEYS[3], unpack(gone))
end
return {'ok', #names, #gone}
`);

/** Forgets checkpoint and fold state. KEYS: record, fold state. ARGV: as the guard says. */
export const forget: Script = script(`${GUARD}
call('HDEL', KEYS[1], 'mark', 'checkpoint')
call('UNLINK', KEYS[2])
return {'ok'}
`);
