-- How fast a user edits, over all workers. The key of a user is the server's time (Unix ms, with fractions) at
-- which his allowance will be full again; it ends when it is.

local function clock_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end

-- spend: ms... (keys: a user each) -> OK {ms until full...}
local function spend(keys, args)
  local now = clock_ms()
  local answer = {}
  for number = 1, #keys do
    local full = tonumber(redis.call('GET', keys[number]) or now)
    if full < now then full = now end
    full = full + tonumber(args[number])
    local left = full - now
    if left > 0 then
      redis.call('SET', keys[number], string.format('%.3f', full), 'PX', math.ceil(left))
    end
    answer[number] = string.format('%.3f', left)
  end
  return {'OK', answer}
end

register('spend', spend, FREES)
