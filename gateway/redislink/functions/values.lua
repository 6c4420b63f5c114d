-- Values of all nodes, in a hash: `revision`, `by`, `ms`, and `f:NAME` the JSON of each that was set.

-- set_values: by ms, then name and JSON in pairs ("" takes it out) -> OK fields-and-values
local function set_values(keys, args)
  redis.call('HINCRBY', keys[1], 'revision', 1)
  redis.call('HSET', keys[1], 'by', args[1], 'ms', args[2])
  for i = 3, #args, 2 do
    if args[i + 1] == '' then
      redis.call('HDEL', keys[1], 'f:' .. args[i])
    else
      redis.call('HSET', keys[1], 'f:' .. args[i], args[i + 1])
    end
  end
  return {'OK', redis.call('HGETALL', keys[1])}
end

-- An emergency stop, or a revocation, works while the server is full.
register('set_values', set_values, FREES)
