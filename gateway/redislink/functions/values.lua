-- Values of all nodes, in a hash: `revision`, `by`, `ms`, and `f:NAME` the JSON of each that was set. Keys: meta, the hash.

local function set_pairs(values, args, first)
  for i = first, #args, 2 do
    if args[i + 1] == '' then
      redis.call('HDEL', values, 'f:' .. args[i])
    else
      redis.call('HSET', values, 'f:' .. args[i], args[i + 1])
    end
  end
end

-- set_values: by ms, then name and JSON in pairs ("" takes it out) -> OK fields-and-values
local function set_values(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local values = keys[2]
  redis.call('HINCRBY', values, 'revision', 1)
  redis.call('HSET', values, 'by', args[1], 'ms', args[2])
  set_pairs(values, args, 3)
  return {'OK', redis.call('HGETALL', values)}
end

-- put_back_values: revision by ms, then name and JSON in pairs -> OK fields-and-values; stores this as it is, unless what
-- is there is of this revision or a later one.
local function put_back_values(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local values = keys[2]
  if tonumber(redis.call('HGET', values, 'revision') or '0') < tonumber(args[1]) then
    redis.call('DEL', values)
    redis.call('HSET', values, 'revision', args[1], 'by', args[2], 'ms', args[3])
    set_pairs(values, args, 4)
  end
  return {'OK', redis.call('HGETALL', values)}
end

-- read_values: revision ms (that the caller knows) -> SAME | OK fields-and-values
local function read_values(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local found = redis.call('HMGET', keys[2], 'revision', 'ms')
  if (found[1] or '0') == args[1] and (found[2] or '0') == args[2] then
    return {'SAME'}
  end
  return {'OK', redis.call('HGETALL', keys[2])}
end

-- note_backup: ms only-first -> OK; stores when a backup was begun. Keys: meta, where. With only-first "1" what is there stays.
local function note_backup(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  if args[2] ~= '1' or redis.call('EXISTS', keys[2]) == 0 then
    redis.call('SET', keys[2], args[1])
  end
  return {'OK'}
end

-- meet_secrets: kept-ms, then fingerprints of the caller's secrets -> OK fingerprints (those that others told within that
-- time). The caller's are kept with them, unless they have none in common. Keys: meta, a sorted set.
local function meet_secrets(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local secrets, now, kept = keys[2], now_ms(), tonumber(args[1])
  redis.call('ZREMRANGEBYSCORE', secrets, '-inf', whole(now - kept))
  local known = redis.call('ZRANGE', secrets, 0, -1)
  local meets = #known == 0
  for i = 2, #args do
    meets = meets or redis.call('ZSCORE', secrets, args[i]) ~= false
  end
  if meets then
    for i = 2, #args do
      redis.call('ZADD', secrets, whole(now), args[i])
    end
    redis.call('PEXPIRE', secrets, whole(kept))
  end
  return {'OK', known}
end

-- An emergency stop, a revocation, the note of a backup or of secrets works while the server is full.
register('set_values', set_values, FREES)
register('put_back_values', put_back_values, FREES)
register('note_backup', note_backup, FREES)
register('meet_secrets', meet_secrets, FREES)
register('read_values', read_values, {'no-writes'})
