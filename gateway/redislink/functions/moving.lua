-- Moving partitions between independent servers. The key of a partition is its meta.
-- All of it writes a few bytes, so that a full server can be relieved.

-- lock: token ttl_s (key: the lock) -> OK taken (0 or 1)
local function lock(keys, args)
  return {'OK', redis.call('SET', keys[1], args[1], 'NX', 'EX', args[2]) and 1 or 0}
end

-- fence: target (keys: partitions) -> OK; they aren't served here any more
local function fence(keys, args)
  for _, key in ipairs(keys) do
    redis.call('HSET', key, 'fenced', args[1])
  end
  return {'OK'}
end

-- retire: target (keys: partitions) -> OK; nothing but the fence stays, for nodes that haven't heard yet
local function retire(keys, args)
  redis.call('DEL', unpack(keys))
  return fence(keys, args)
end

-- route: table version (keys: the routing table, then partitions that came here) -> OK
-- They are served here from now on. All that was acknowledged was copied, so this server may say that it was.
local function route(keys, args)
  redis.call('SET', keys[1], args[1])
  for i = 2, #keys do
    if redis.call('HEXISTS', keys[i], 'run') == 1 then
      redis.call('HSET', keys[i], 'run', run_id())
    end
    redis.call('HDEL', keys[i], 'fenced')
  end
  redis.call('SPUBLISH', keys[1], args[2])
  return {'OK'}
end

register('lock', lock, FREES)
register('fence', fence, FREES)
register('retire', retire, FREES)
register('route', route, FREES)
