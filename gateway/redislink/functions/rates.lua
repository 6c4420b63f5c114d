-- How fast a user edits, over all workers. A user's key is a hash: `full` is the server's time (Unix ms, with
-- fractions) at which his allowance will be full again, `w:WORKER` when that worker last told of him.

-- Who told of a user so lately serves him.
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
    if field == 'full' then
      full = math.max(full, at)
    elseif at < now - RECENT_MS then
      redis.call('HDEL', key, field)
    elseif field ~= 'w:' .. worker then
      others = others + 1
    end
  end
  return full, others
end

-- spend: worker, burst ms, spent ms, wanted ms (key: a user) -> OK {ms until full, other workers, granted ms}
-- What is wanted is granted where the burst has room for it; what is as large as the burst, to a full allowance.
local function spend(keys, args)
  local key, worker, now = keys[1], args[1], clock_ms()
  local burst, spent, wanted = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
  local full, others = known(key, worker, now)
  full = full + spent
  local granted = 0
  if wanted > 0 and full - now + math.min(wanted, burst) <= burst + 0.001 then
    granted = wanted
    full = full + wanted
  end
  local left = full - now
  if left > 0 then
    redis.call('HSET', key, 'full', string.format('%.3f', full), 'w:' .. worker, string.format('%.3f', now))
    redis.call('PEXPIRE', key, math.ceil(left))
  end
  return {'OK', {string.format('%.3f', left), tostring(others), string.format('%.3f', granted)}}
end

register('spend', spend, FREES)
