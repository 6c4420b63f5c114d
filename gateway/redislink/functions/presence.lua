-- Presence, and the leases of nodes on one server. The key of the latter is a sorted set: node -> when its
-- lease ends (Unix ms of the server).

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- beat: node lease_ms -> OK known (0 or 1: whether the lease was still running)
local function beat(keys, args)
  local now = now_ms()
  local ends = redis.call('ZSCORE', keys[1], args[1])
  redis.call('ZADD', keys[1], string.format('%.0f', now + tonumber(args[2])), args[1])
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', string.format('%.0f', now))
  return {'OK', (ends and tonumber(ends) > now) and 1 or 0}
end

-- leave: node known_ms -> OK; for so long others learn that it left, and wasn't lost
local function leave(keys, args)
  redis.call('ZREM', keys[1], args[1])
  redis.call('ZADD', keys[1], string.format('%.0f', now_ms() + tonumber(args[2])), 'left!' .. args[1])
  return {'OK'}
end

-- alive: -> OK {node...}
local function alive(keys, args)
  return {'OK', redis.call('ZRANGEBYSCORE', keys[1], '(' .. string.format('%.0f', now_ms()), '+inf')}
end

-- enter: session value ttl_s (key: a resource's presence) -> OK
local function enter(keys, args)
  redis.call('HSET', keys[1], args[1], args[2])
  redis.call('EXPIRE', keys[1], args[3])
  return {'OK'}
end

-- Small, and gone by themselves: who is there is known while the server is full.
register('enter', enter, FREES)
register('beat', beat, FREES)
register('leave', leave, FREES)
register('alive', alive, {'no-writes'})
