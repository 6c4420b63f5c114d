-- Presence, and the leases of nodes on one server. The key of the latter is a sorted set: node -> when its
-- lease ends (Unix ms of the server).

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- beat: node lease_ms anew (0 or 1) -> OK known (0 or 1: whether the lease was still running)
-- One that has ended isn't renewed, but anew: who sees it knows that the others' may have ended with it.
local function beat(keys, args)
  local now = now_ms()
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', string.format('%.0f', now))
  local known = redis.call('ZSCORE', keys[1], args[1]) and 1 or 0
  if known == 1 or args[3] == '1' then
    redis.call('ZADD', keys[1], string.format('%.0f', now + tonumber(args[2])), args[1])
  end
  return {'OK', known}
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

-- drop: session value... (key: a resource's presence) -> OK; entries that were written again meanwhile stay
local function drop(keys, args)
  for i = 1, #args, 2 do
    if redis.call('HGET', keys[1], args[i]) == args[i + 1] then
      redis.call('HDEL', keys[1], args[i])
    end
  end
  return {'OK'}
end

-- Small, and gone by themselves: who is there is known while the server is full.
register('enter', enter, FREES)
register('drop', drop, FREES)
register('beat', beat, FREES)
register('leave', leave, FREES)
register('alive', alive, {'no-writes'})
