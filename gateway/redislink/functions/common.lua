-- What the functions of the log and of its archive share.
--
-- Each function is atomic, and all keys that it touches are declared, so that a Redis Cluster that is moving the
-- slot answers TRYAGAIN before anything was done rather than in between.
--
-- Keys, in this order (see keys.py): meta, outbox, head, changes, snapshots, seen.
-- Head fields: e epoch, v version, n nonce of the newest change, t versions up to here are trimmed,
-- a versions up to here are archived, r and u: reserved for node r until u (Unix ms), p epoch that the last purge
-- began, b version at which the epoch began, f the epoch that it follows (where it began because data was lost),
-- c the incarnation for which somebody knew that this is the newest head, w the kind of what waits for the archive other
-- than changes.
-- Meta fields: fenced, backlog (bytes in the outbox), owner and lease (of the archive's work), incarnation (Unix ms: which
-- life of the data this is; histories of older epochs may lack their end), run (the server's process in which it began).
-- An entry of `changes` holds n (the batch's nonce) and b (its announcement); its id is its last version.
-- An answer's first element is a word; FENCED means that the partition is somewhere else now.

local META, OUTBOX, HEAD, CHANGES, SNAPSHOTS, SEEN = 1, 2, 3, 4, 5, 6
local KEPT = 16
-- What may run while the server is full. Without this flag it runs no function that could write.
local FREES = {'allow-oom'}

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function whole(number)
  return string.format('%.0f', number)
end

-- The server's process: another one after each restart, and on a replica.
local this_run
local function run_id()
  this_run = this_run or string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  return this_run
end

-- The incarnation, given what meta holds: a new one where another process wrote last. What that process had acknowledged
-- may be more than what is here: nobody can tell a restart from the start on an older copy.
local function incarnation_of(keys, incarnation, run)
  if incarnation and run == run_id() then
    return incarnation
  end
  if not incarnation or run then
    incarnation = whole(math.max(now_ms(), tonumber(incarnation or '0') + 1))
  end
  redis.call('HSET', keys[META], 'incarnation', incarnation, 'run', run_id())
  return incarnation
end

local function fenced(keys)
  return redis.call('HGET', keys[META], 'fenced')
end

local function archive(keys, kind, payload)
  redis.call('XADD', keys[OUTBOX], '*', 'k', kind, 'b', payload)
  redis.call('HINCRBY', keys[META], 'backlog', #payload)
end

-- Another epoch began, or all was purged: the resource isn't evicted before the archive knows.
local function archive_turn(keys, kind, payload)
  redis.call('HSET', keys[HEAD], 'w', kind)
  archive(keys, kind, payload)
end

local function payloads(entries)
  local result = {}
  for i, entry in ipairs(entries) do
    result[i] = entry[2][4]
  end
  return result
end

-- The newest snapshot at or below `version` (any, when nil): its version as a number, or nil.
local function snapshot_below(keys, version)
  local found
  for _, field in ipairs(redis.call('HKEYS', keys[SNAPSHOTS])) do
    local candidate = tonumber(field)
    if (not version or candidate <= version) and (not found or candidate > found) then
      found = candidate
    end
  end
  return found
end

-- The nonce of the batch that holds `version`, or nil where the stream doesn't reach it.
local function nonce_at(keys, version)
  local entry = redis.call('XRANGE', keys[CHANGES], whole(version) .. '-0', '+', 'COUNT', 1)[1]
  return entry and entry[2][2], entry and entry[1]
end

-- Whether a stored nonce is another one than `nonce`; "" is unknown on either side (a resource that came back
-- from the archive has none).
local function unlike(stored, nonce)
  return nonce ~= '' and stored ~= '' and stored ~= nonce
end

-- Whether the history lacks what the caller saw: `version` of `epoch`, with this nonce ("" where unknown).
-- Epochs only grow: a head of an older one than was seen is an old state of this server.
local function forked(keys, head, epoch, version, nonce)
  if head.epoch ~= epoch then
    return tonumber(epoch) > tonumber(head.epoch)
  end
  if version <= head.trimmed then
    return false
  end
  return version > head.version or unlike(nonce_at(keys, version), nonce)
end

-- The head, or nil.
local function head_of(keys)
  local fields = redis.call('HMGET', keys[HEAD], 'e', 'v', 'n', 't', 'a', 'p', 'b', 'f', 'c')
  if not fields[1] then
    return nil
  end
  return {
    epoch = fields[1], version = tonumber(fields[2]), nonce = fields[3], trimmed = tonumber(fields[4] or '0'),
    archived = tonumber(fields[5] or '0'), purged = fields[6] or '0', restarted = fields[7] or '',
    follows = fields[8] or '0', confirmed = fields[9] or '',
  }
end

local function fork_answer(head)
  return {'FORK', head.epoch, whole(head.version), head.nonce}
end

-- Trims what is both covered by a snapshot and (where there is an archive) archived, beyond the history kept.
local function trim(keys, history, archiving)
  local head = head_of(keys)
  local limit = head.version - history
  if archiving then
    limit = math.min(limit, head.archived)
  end
  local version = limit > head.trimmed and snapshot_below(keys, limit)
  if version and version > head.trimmed then
    redis.call('XTRIM', keys[CHANGES], 'MINID', whole(version + 1) .. '-0')
    for _, field in ipairs(redis.call('HKEYS', keys[SNAPSHOTS])) do
      if tonumber(field) < version then
        redis.call('HDEL', keys[SNAPSHOTS], field)
      end
    end
    redis.call('HSET', keys[HEAD], 't', whole(version))
  end
end
