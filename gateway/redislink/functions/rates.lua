-- How fast a user edits, over all workers. A user's key is a hash: `full` is the server's time (Unix ms, with
-- fractions) at which his allowance will be full again. Of each worker that told of him lately: `w:WORKER` when it did
-- last, `x:WORKER` its exchange then, `g:WORKER` what was granted in it (ms). Each value is a number: a worker of before
-- `x` takes any field for a time, and drops those that are old.

-- Who told of a user so lately serves him, and may tell the same again.
local RECENT_MS = 5000

local function clock_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end

-- When the allowance will be full, and how many other workers serve the user; forgets those that did.
local function known(key, worker, now)
  local full, others = now, 0
  local fields = redis.call('HGETALL', key)
  for place = 1, #fields, 2 do
    local field, at = fields[place], tonumber(fields[place + 1])
    local kind, teller = string.match(field, '^(%a):(.*)$')
    if field == 'full' then
      full = math.max(full, at)
    elseif kind == 'w' and at < now - RECENT_MS then
      redis.call('HDEL', key, field, 'x:' .. teller, 'g:' .. teller)
    elseif kind == 'w' and teller ~= worker then
      others = others + 1
    end
  end
  return full, others
end

-- What was granted in this exchange of a worker when it was counted, or nil where it is new.
local function counted(key, worker, exchange)
  local last = redis.call('HMGET', key, 'x:' .. worker, 'g:' .. worker)
  return last[1] and exchange <= tonumber(last[1]) and tonumber(last[2] or '0') or nil
end

-- spend: worker, exchange, burst ms, spent ms, wanted ms (key: a user) -> OK {ms until full, other workers, granted ms}
-- What is wanted is granted where the burst has room for it; what is as large as the burst, to a full allowance.
-- `exchange`: a worker's exchanges are numbered upwards; one that comes again, or late, isn't counted.
local function spend(keys, args)
  local key, worker, exchange, now = keys[1], args[1], tonumber(args[2]), clock_ms()
  local burst, spent, wanted = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
  local full, others = known(key, worker, now)
  local granted = counted(key, worker, exchange)
  if not granted then
    granted, full = 0, full + spent
    if wanted > 0 and full - now + math.min(wanted, burst) <= burst + 0.001 then
      granted, full = wanted, full + wanted
    end
    if full > now then
      redis.call('HSET', key, 'full', string.format('%.3f', full), 'w:' .. worker, string.format('%.3f', now),
        'x:' .. worker, args[2], 'g:' .. worker, string.format('%.3f', granted))
      redis.call('PEXPIRE', key, math.max(math.ceil(full - now), RECENT_MS))
    end
  end
  return {'OK', {string.format('%.3f', full - now), tostring(others), string.format('%.3f', granted)}}
end

register('spend', spend, FREES)
