-- The archive's side of a partition. Keys: meta, outbox; `archived` and `evict` take a resource's keys and then
-- the idle set.

-- take: owner lease_ms count -> TAKEN (another owner's lease runs) | OK {id kind payload}...
local function take(keys, args)
  local meta = redis.call('HMGET', keys[META], 'fenced', 'owner', 'lease')
  if meta[1] then
    return {'FENCED'}
  end
  local now = now_ms()
  if meta[2] and meta[2] ~= args[1] and tonumber(meta[3]) > now then
    return {'TAKEN'}
  end
  local lease_ms = tonumber(args[2])
  if meta[2] ~= args[1] or tonumber(meta[3]) < now + lease_ms / 2 then
    redis.call('HSET', keys[META], 'owner', args[1], 'lease', whole(now + lease_ms))
  end
  local result = {}
  for i, entry in ipairs(redis.call('XRANGE', keys[OUTBOX], '-', '+', 'COUNT', args[3])) do
    result[i] = {entry[1], entry[2][2], entry[2][4]}
  end
  return {'OK', result}
end

-- release: owner -> OK
local function release(keys, args)
  if redis.call('HGET', keys[META], 'owner') == args[1] then
    redis.call('HDEL', keys[META], 'owner', 'lease')
  end
  return {'OK'}
end

-- done: owner id -> OK | TAKEN; drops the outbox up to `id`
local function done(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  if redis.call('HGET', keys[META], 'owner') ~= args[1] then
    return {'TAKEN'}
  end
  local bytes = 0
  for _, entry in ipairs(redis.call('XRANGE', keys[OUTBOX], '-', args[2])) do
    bytes = bytes + #entry[2][4]
  end
  local milliseconds, sequence = string.match(args[2], '^(%d+)-(%d+)$')
  redis.call('XTRIM', keys[OUTBOX], 'MINID', milliseconds .. '-' .. whole(tonumber(sequence) + 1))
  redis.call('HINCRBY', keys[META], 'backlog', -bytes)
  return {'OK'}
end

-- archived: epoch version history resource (keys: a resource's, then idle) -> OK | IGNORED
local function archived(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local head = redis.call('HMGET', keys[HEAD], 'e', 'a')
  if head[1] ~= args[1] then
    return {'IGNORED'}
  end
  if tonumber(args[2]) > tonumber(head[2] or '0') then
    redis.call('HSET', keys[HEAD], 'a', args[2])
  end
  redis.call('ZADD', keys[7], whole(now_ms()), args[4])
  trim(keys, tonumber(args[3]), true)
  return {'OK'}
end

-- evict: before_ms resource (keys: a resource's, then idle) -> OK | BUSY (it isn't archived to its head, or
-- was written since)
local function evict(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local head = redis.call('HMGET', keys[HEAD], 'v', 'a')
  local written = redis.call('ZSCORE', keys[7], args[2])
  if head[1] and (head[1] ~= head[2] or not written or tonumber(written) > tonumber(args[1])) then
    return {'BUSY'}
  end
  redis.call('DEL', keys[HEAD], keys[CHANGES], keys[SNAPSHOTS], keys[SEEN])
  redis.call('ZREM', keys[7], args[2])
  return {'OK'}
end

register('take', take)
register('release', release)
register('done', done)
register('archived', archived)
register('evict', evict)
