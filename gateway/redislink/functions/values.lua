-- Values of all nodes, in a hash: `revision`, `by`, `ms`, and `f:NAME` the JSON of each that was set. Keys: meta, the hash.

-- set_values: by ms, then name and JSON in pairs ("" takes it out) -> OK fields-and-values
local function set_values(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local values = keys[2]
  redis.call('HINCRBY', values, 'revision', 1)
  redis.call('HSET', values, 'by', args[1], 'ms', args[2])
  for i = 3, #args, 2 do
    if args[i + 1] == '' then
      redis.call('HDEL', values, 'f:' .. args[i])
    else
      redis.call('HSET', values, 'f:' .. args[i], args[i + 1])
    end
  end
  return {'OK', redis.call('HGETALL', values)}
end

-- read_values: revision (that the caller knows) -> SAME | OK fields-and-values
local function read_values(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  if (redis.call('HGET', keys[2], 'revision') or '0') == args[1] then
    return {'SAME'}
  end
  return {'OK', redis.call('HGETALL', keys[2])}
end

-- An emergency stop, or a revocation, works while the server is full.
register('set_values', set_values, FREES)
register('read_values', read_values, {'no-writes'})
