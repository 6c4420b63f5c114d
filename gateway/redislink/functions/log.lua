-- The log of one partition: opening, appending, forking, purging, snapshots, reading.

-- open: epoch version nonce (what the caller saw last; 0, 0 and "" where nothing)
-- -> NONE incarnation | FORK epoch version nonce | RESTARTED epoch version nonce incarnation
--    | OK epoch version snapshot-version document nonce payloads purged restarted follows
local function open(keys, args)
  local meta = redis.call('HMGET', keys[META], 'fenced', 'incarnation', 'run')
  if meta[1] then
    return {'FENCED'}
  end
  local incarnation = incarnation_of(keys, meta[2], meta[3])
  local head = head_of(keys)
  if not head then
    return {'NONE', incarnation}
  end
  if forked(keys, head, args[1], tonumber(args[2]), args[3]) then
    return fork_answer(head)
  end
  if tonumber(head.epoch) < tonumber(incarnation) and head.confirmed ~= incarnation then
    if args[1] ~= head.epoch or tonumber(args[2]) ~= head.version or args[3] ~= head.nonce then
      return {'RESTARTED', head.epoch, whole(head.version), head.nonce, incarnation}
    end
    redis.call('HSET', keys[HEAD], 'c', incarnation)
  end
  local version = whole(snapshot_below(keys) or 0)
  local document = redis.call('HGET', keys[SNAPSHOTS], version) or 'null'
  local entries = redis.call('XRANGE', keys[CHANGES], '(' .. version .. '-0', '+')
  return {
    'OK', head.epoch, whole(head.version), version, document, head.nonce, payloads(entries), head.purged,
    head.restarted, head.follows,
  }
end

-- create: incarnation epoch snapshot-version document version nonce payload announcement channel restarted
-- purged follows resource, then client and lines in pairs (keys: a resource's, then idle). `payload` is a batch of the
-- changes after the snapshot ("" where there are none), `resource` its name ("" where there is no archive).
-- Makes the head of a new or evicted resource; -> OK | EXISTS | AGAIN (the incarnation is another one)
local function create(keys, args)
  local meta = redis.call('HMGET', keys[META], 'fenced', 'incarnation')
  if meta[1] then
    return {'FENCED'}
  end
  if meta[2] ~= args[1] then
    return {'AGAIN'}
  end
  if redis.call('EXISTS', keys[HEAD]) == 1 then
    return {'EXISTS'}
  end
  local snapshot_version, version, nonce = args[3], args[5], args[6]
  redis.call('DEL', keys[CHANGES], keys[SNAPSHOTS], keys[SEEN])
  redis.call('HSET', keys[HEAD], 'e', args[2], 'v', version, 'n', nonce, 't', snapshot_version, 'a', version,
    'p', args[11], 'c', args[1])
  if args[10] ~= '' then
    redis.call('HSET', keys[HEAD], 'b', args[10], 'f', args[12])
  end
  if snapshot_version ~= '0' then
    redis.call('HSET', keys[SNAPSHOTS], snapshot_version, args[4])
  end
  if args[7] ~= '' then
    redis.call('XADD', keys[CHANGES], version .. '-0', 'n', nonce, 'b', args[7])
  end
  for i = 14, #args, 2 do
    redis.call('HSET', keys[SEEN], args[i], args[i + 1])
  end
  local resource = args[13]
  if resource ~= '' then
    redis.call('ZADD', keys[7], whole(now_ms()), resource)
  end
  if args[8] ~= '' then
    if resource ~= '' then
      archive_turn(keys, 'epoch', string.sub(args[8], 9))
    end
    redis.call('SPUBLISH', args[9], args[8])
  end
  return {'OK'}
end

-- For how many ms more the head is reserved for another node than this; 0 where it isn't.
local function reserved_ms(head, node)
  if head[4] and head[4] ~= node then
    return math.max(0, tonumber(head[5]) - now_ms())
  end
  return 0
end

-- Whether the batch that ends with `last` was appended before: its answer was lost, and it was sent again.
local function is_stored(keys, last, nonce)
  local stored, id = nonce_at(keys, tonumber(last))
  if stored ~= nonce or id ~= last .. '-0' then
    return false
  end
  -- A write, so that a WAIT behind this covers the batch on a new connection too.
  redis.call('HSET', keys[HEAD], 'k', '')
  return true
end

-- What an append is told whose base is not the head (or not the head it believes in).
local function refuse(keys, head, args)
  local version, base, last = tonumber(head[2]), tonumber(args[2]), tonumber(args[3])
  local previous, node, reservation_ms = args[5], args[6], tonumber(args[7])
  if version >= last and is_stored(keys, args[3], args[4]) then
    return {'OK'}
  end
  if version < base then
    return {'FORK', head[1], head[2], head[3]}
  end
  if base < tonumber(head[6] or '0') then
    return {'ABSENT'}
  end
  if previous ~= '' and base > 0 then
    local stored
    if base == version then
      stored = head[3]
    else
      stored = nonce_at(keys, base)
    end
    if stored and unlike(stored, previous) then
      return {'FORK', head[1], head[2], head[3]}
    end
  end
  -- Whoever was refused more often asks for longer, and so takes the head from one who waits less.
  if reservation_ms > reserved_ms(head, node) then
    redis.call('HSET', keys[HEAD], 'r', node, 'u', whole(now_ms() + reservation_ms))
  end
  local entries = redis.call('XRANGE', keys[CHANGES], '(' .. whole(base) .. '-0', '+')
  return {'STALE', head[3], payloads(entries)}
end

-- Of records that are stored already: the version wanted now, that stored, the digest; and what to store of the
-- others.
local function submissions(keys, args)
  local duplicates, lines = {}, {}
  for i = 12, #args, 3 do
    local client, seq, rest = args[i], args[i + 1], args[i + 2]
    local value = lines[client] or redis.call('HGET', keys[SEEN], client) or ''
    local _, stop = string.find(value, seq, 1, true)
    if stop then
      local version, digest = string.match(value, '^(%d+) %d+ ([^\n]*)', stop + 1)
      duplicates[#duplicates + 1] = {string.match(rest, '^%d+'), version, digest}
    else
      lines[client] = value .. seq .. rest
    end
  end
  return duplicates, lines
end

-- The newest lines of a client; cut only now and then, since cutting costs more than keeping some longer.
local function shortened(value)
  if #value < 1200 then
    return value
  end
  local starts, at = {}, 0
  while true do
    at = string.find(value, '\n', at + 1, true)
    if not at then
      break
    end
    starts[#starts + 1] = at
  end
  return string.sub(value, starts[math.max(1, #starts - KEPT + 1)])
end

-- append: epoch base last nonce previous node reservation announcement channel archiving backlog_max, then for each
-- record with a seq: client "\nseq " "version timestamp digest".
-- -> OK | STALE nonce payloads | DUP {wanted-version version digest}... | ABSENT | FORK epoch version nonce
--    | BUSY ms (reserved for another node) | FULL (the archive is too far behind)
local function append(keys, args)
  local meta = redis.call('HMGET', keys[META], 'fenced', 'backlog', 'incarnation', 'run')
  if meta[1] then
    return {'FENCED'}
  end
  local head = redis.call('HMGET', keys[HEAD], 'e', 'v', 'n', 'r', 'u', 't')
  if not head[1] then
    return {'ABSENT'}
  end
  if head[1] ~= args[1] then
    if is_stored(keys, args[3], args[4]) then -- and the new epoch follows it
      return {'OK'}
    end
    return {'FORK', head[1], head[2], head[3]}
  end
  if head[2] ~= args[2] or unlike(head[3], args[5]) then
    return refuse(keys, head, args)
  end
  local left = reserved_ms(head, args[6])
  if left > 0 then
    return {'BUSY', whole(left)}
  end
  local archiving = args[10] == '1'
  if archiving and tonumber(meta[2] or '0') > tonumber(args[11]) then
    return {'FULL'}
  end
  local duplicates, lines = submissions(keys, args)
  if duplicates[1] then
    return {'DUP', duplicates}
  end
  local payload = string.sub(args[8], 9)
  redis.call('XADD', keys[CHANGES], args[3] .. '-0', 'n', args[4], 'b', payload)
  redis.call('HSET', keys[HEAD], 'v', args[3], 'n', args[4])
  if meta[4] ~= run_id() then -- whoever appends knows that this was the newest head
    redis.call('HSET', keys[HEAD], 'c', incarnation_of(keys, meta[3], meta[4]))
  elseif meta[3] and tonumber(args[1]) < tonumber(meta[3]) then
    redis.call('HSET', keys[HEAD], 'c', meta[3])
  end
  if head[4] then
    redis.call('HDEL', keys[HEAD], 'r', 'u')
  end
  if archiving then
    archive(keys, 'change', payload)
  end
  for client, value in pairs(lines) do
    redis.call('HSET', keys[SEEN], client, shortened(value))
  end
  redis.call('SPUBLISH', args[9], args[8])
  return {'OK'}
end

-- fork: old-epoch version nonce new-epoch announcement channel archiving restarted
-- Starts a new epoch if the head still is the one that was seen; -> OK epoch | AGAIN epoch version nonce
local function fork(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local head = redis.call('HMGET', keys[HEAD], 'e', 'v', 'n')
  if not head[1] then
    return {'ABSENT'}
  end
  if head[1] ~= args[1] then
    return {'OK', head[1]}
  end
  if head[2] ~= args[2] or head[3] ~= args[3] or tonumber(args[4]) <= tonumber(head[1]) then
    return {'AGAIN', head[1], head[2], head[3]}
  end
  redis.call('HSET', keys[HEAD], 'e', args[4])
  redis.call('HSET', keys[HEAD], 'b', args[8], 'f', args[1])
  if args[7] == '1' then
    archive_turn(keys, 'epoch', string.sub(args[5], 9))
  end
  redis.call('SPUBLISH', args[6], args[5])
  return {'OK', args[4]}
end

-- forsake: epoch version nonce -> OK | AGAIN
-- The head and what is behind it go, for the archive has more, unless the head is another one by now.
local function forsake(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local head = redis.call('HMGET', keys[HEAD], 'e', 'v', 'n')
  if head[1] ~= args[1] or head[2] ~= args[2] or head[3] ~= args[3] then
    return {'AGAIN'}
  end
  redis.call('DEL', keys[HEAD], keys[CHANGES], keys[SNAPSHOTS], keys[SEEN])
  return {'OK'}
end

-- purge: new-epoch announcement channel archiving token -> OK | AGAIN epoch (the new epoch must be above)
-- The token, kept as the head's nonce, recognises a purge that is sent again.
local function purge(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local incarnation = redis.call('HGET', keys[META], 'incarnation')
  local head = redis.call('HMGET', keys[HEAD], 'e', 'n')
  local epoch = head[1] or incarnation
  if head[1] == args[1] and head[2] == args[5] then
    return {'OK'}
  end
  if epoch and tonumber(epoch) >= tonumber(args[1]) then
    return {'AGAIN', epoch}
  end
  if not incarnation then
    redis.call('HSET', keys[META], 'incarnation', args[1])
  end
  redis.call('DEL', keys[HEAD], keys[CHANGES], keys[SNAPSHOTS], keys[SEEN])
  redis.call('HSET', keys[HEAD], 'e', args[1], 'v', '0', 'n', args[5], 't', '0', 'a', '0', 'p', args[1])
  if args[4] == '1' then
    archive_turn(keys, 'purge', string.sub(args[2], 9))
  end
  redis.call('SPUBLISH', args[3], args[2])
  return {'OK'}
end

-- Forgets clients whose newest submission is older than `since`; KEPT bounds what stays of the others.
local function forget(keys, since)
  local values = redis.call('HGETALL', keys[SEEN])
  for i = 1, #values, 2 do
    local timestamp = string.match(values[i + 1], '\n%d+ %d+ (%d+) [^\n]*$')
    if not timestamp or tonumber(timestamp) < since then
      redis.call('HDEL', keys[SEEN], values[i])
    end
  end
end

-- save_snapshot: epoch version document history archiving since announcement -> OK | IGNORED
local function save_snapshot(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local head = redis.call('HMGET', keys[HEAD], 'e', 'v', 't')
  local version = tonumber(args[2])
  if head[1] ~= args[1] or version > tonumber(head[2]) or version <= tonumber(head[3] or '0') then
    return {'IGNORED'}
  end
  if redis.call('HSETNX', keys[SNAPSHOTS], args[2], args[3]) == 0 then
    return {'IGNORED'}
  end
  if args[5] == '1' then
    archive(keys, 'snapshot', args[7])
  end
  forget(keys, tonumber(args[6]))
  trim(keys, tonumber(args[4]), args[5] == '1')
  return {'OK'}
end

-- read: after count epoch nonce -> NONE | OK trimmed payloads | FORK epoch version nonce
-- `nonce` is that of `after` in `epoch`, as the caller knows it ("" where it doesn't).
local function read(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local head = head_of(keys)
  if not head then
    return {'NONE'}
  end
  if forked(keys, head, args[3], tonumber(args[1]), args[4]) then
    return fork_answer(head)
  end
  local entries = redis.call('XRANGE', keys[CHANGES], '(' .. args[1] .. '-0', '+', 'COUNT', args[2]) or {}
  return {'OK', whole(head.trimmed), payloads(entries)}
end

-- pages: before count -> OK trimmed payloads (newest first, of batches that end below `before`)
local function pages(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local last = args[1] == '' and '+' or '(' .. args[1] .. '-0'
  local entries = redis.call('XREVRANGE', keys[CHANGES], last, '-', 'COUNT', args[2])
  return {'OK', redis.call('HGET', keys[HEAD], 't') or '0', payloads(entries)}
end

-- snapshot_at: version -> NONE trimmed ("" where there is no head) | OK version document epoch
local function snapshot_at(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local version = snapshot_below(keys, tonumber(args[1]))
  if not version then
    return {'NONE', redis.call('HGET', keys[HEAD], 't') or ''}
  end
  local document = redis.call('HGET', keys[SNAPSHOTS], whole(version))
  return {'OK', whole(version), document, redis.call('HGET', keys[HEAD], 'e')}
end

-- recent: client... -> OK {lines...} ("" for a client without any)
local function recent(keys, args)
  if fenced(keys) then
    return {'FENCED'}
  end
  local values = redis.call('HMGET', keys[SEEN], unpack(args))
  for i = 1, #args do
    values[i] = values[i] or ''
  end
  return {'OK', values}
end

-- A full server takes no more changes and no resources back, but everything else: what only writes a few bytes, and
-- snapshots, since nothing is trimmed that none covers (at most one more a resource, for no changes come).
register('create', create)
register('append', append)
register('open', open, FREES)
register('fork', fork, FREES)
register('forsake', forsake, FREES)
register('purge', purge, FREES)
register('save_snapshot', save_snapshot, FREES)
register('read', read, {'no-writes'})
register('pages', pages, {'no-writes'})
register('snapshot_at', snapshot_at, {'no-writes'})
register('recent', recent, {'no-writes'})
