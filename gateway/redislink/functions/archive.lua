-- The archive's side of a partition. Keys: meta, outbox; `evict` takes a resource's keys and then the idle set:
-- archived resources by when they were written or brought back (Unix ms).
--
-- All of it may run while the server is full (FREES): this is what frees it.

-- lease: owner lease_ms -> TAKEN (another owner's lease runs) | OK; whoever holds it reads the outbox and drops it
local function lease(keys, args)
  local meta = redis.call('HMGET', keys[META], 'fenced', 'owner', 'lease')
  if meta[1] then
    return {'FENCED'}
  end
  local now, until_ms = now_ms(), tonumber(meta[3] or '0')
  -- Nobody's lease runs for longer than this: where it seems so, the server's clock went backwards.
  if meta[2] and meta[2] ~= args[1] and until_ms > now and until_ms <= now + tonumber(args[2]) then
    return {'TAKEN'}
  end
  redis.call('HSET', keys[META], 'owner', args[1], 'lease', whole(now + tonumber(args[2])))
  return {'OK'}
end

-- release: owner -> OK
local function release(keys, args)
  if redis.call('HGET', keys[META], 'owner') == args[1] then
    redis.call('HDEL', keys[META], 'owner', 'lease')
  end
  return {'OK'}
end

-- done: owner id bytes -> OK | TAKEN; drops the outbox up to `id`, payloads of so many bytes
local function done(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  if redis.call('HGET', keys[META], 'owner') ~= args[1] then
    return {'TAKEN'}
  end
  local milliseconds, sequence = string.match(args[2], '^(%d+)-(%d+)$')
  local dropped = redis.call('XTRIM', keys[OUTBOX], 'MINID', milliseconds .. '-' .. whole(tonumber(sequence) + 1))
  if redis.call('XLEN', keys[OUTBOX]) == 0 then
    redis.call('HSET', keys[META], 'backlog', '0')
  elseif dropped > 0 then -- none: this was sent before, and the answer was lost
    redis.call('HINCRBY', keys[META], 'backlog', '-' .. args[3])
  end
  return {'OK'}
end

local function note_archived(keys, epoch, version, history)
  local head = redis.call('HMGET', keys[HEAD], 'e', 'a')
  if head[1] ~= epoch then
    return false
  end
  if tonumber(version) > tonumber(head[2] or '0') then
    redis.call('HSET', keys[HEAD], 'a', version)
  end
  redis.call('HDEL', keys[HEAD], 'w') -- what began this epoch was before all of it
  trim(keys, history, true)
  return true
end

-- archived: history, then epoch version resource of each (keys: meta, outbox, idle, then head, changes, snapshots,
-- seen of each) -> OK; a resource that is in another epoch by now stays as it is
local function archived(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local history, now = tonumber(args[1]), whole(now_ms())
  for n = 0, (#args - 1) / 3 - 1 do
    local own, at = {keys[META], keys[OUTBOX]}, 3 + 4 * n
    own[HEAD], own[CHANGES], own[SNAPSHOTS], own[SEEN] = keys[at + 1], keys[at + 2], keys[at + 3], keys[at + 4]
    if note_archived(own, args[2 + 3 * n], args[3 + 3 * n], history) then
      redis.call('ZADD', keys[3], now, args[4 + 3 * n])
    end
  end
  return {'OK'}
end

-- evict: before_ms resource channel (keys: a resource's, then idle) -> OK | KEPT (not all of it is archived, it was
-- written since, or a worker has it open: it listens to the channel)
local function evict(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local head = redis.call('HMGET', keys[HEAD], 'v', 'a', 'w')
  local written = redis.call('ZSCORE', keys[7], args[2])
  if head[1] and (head[1] ~= head[2] or head[3] or not written or tonumber(written) > tonumber(args[1])) then
    return {'KEPT'}
  end
  if head[1] and redis.call('PUBSUB', 'SHARDNUMSUB', args[3])[2] > 0 then
    redis.call('ZADD', keys[7], whole(now_ms()), args[2]) -- others have their turn
    return {'KEPT'}
  end
  redis.call('DEL', keys[HEAD], keys[CHANGES], keys[SNAPSHOTS], keys[SEEN])
  redis.call('ZREM', keys[7], args[2])
  return {'OK'}
end

register('lease', lease, FREES)
register('release', release, FREES)
register('done', done, FREES)
register('archived', archived, FREES)
register('evict', evict, FREES)
