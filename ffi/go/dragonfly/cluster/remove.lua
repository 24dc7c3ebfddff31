-- Deletes a host that nobody has heard since it was looked at.
-- KEYS: the host; the set of all hosts; the set of the host's peers.
-- ARGV: the host's id; updated_at and announce_interval as they were; the second from which on it may be deleted;
--       and, if its peers are to be deleted too: the beginning of a peer's key, the beginnings and ends of the keys of
--       a task's peers and persistent peers.
local now = redis.call('TIME')
local is = redis.call('HMGET', KEYS[1], 'updated_at', 'announce_interval')
if not is[1] or not is[2] then
  return {'missing'}
end
if is[1] ~= ARGV[2] or is[2] ~= ARGV[3] then
  return {'changed', is[1], is[2]}
end
local wait = tonumber(ARGV[4]) - (tonumber(now[1]) + tonumber(now[2]) / 1000000)
if wait > 0 then
  return {'early', tostring(wait)}
end

local reply = {'removed'}
if ARGV[5] then
  for _, peer in ipairs(redis.call('SMEMBERS', KEYS[3])) do
    local key = ARGV[5] .. peer
    local task = redis.call('HGET', key, 'task_id')
    if task then
      redis.call('SREM', ARGV[6] .. task .. ARGV[7], peer)
      redis.call('SREM', ARGV[8] .. task .. ARGV[9], peer)
    end
    redis.call('DEL', key)
    reply[#reply + 1] = peer
  end
  redis.call('DEL', KEYS[3])
end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return reply
