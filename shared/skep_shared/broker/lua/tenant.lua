-- Part of the scripts that include it: the tenant of a session, its quotas and what it uses of them.
--
-- KEYS 1 of the script is the session (hash), PREFIX:session:SID; SID is TENANT/ID with a tenant.
-- Touches P:tenants (hash: tenant -> quotas, msgpack) and, for the tenant of the session, P:tenant:TENANT (hash) and
--      its :sessions (zset), :resident (set), :rate and :cpu (strings + TTL).
-- Invariant: without a tenant `use` is nil, and nothing more happens here: most submits and commits are such. Each count
--      changes in the step that changes what it counts. A count that would be 0 is absent, so that nothing is left of a
--      tenant without sessions.
local use -- the key of what the session's tenant uses, P:tenant:TENANT
local read_quotas, add_use
if string.find(KEYS[1], '/', 1, true) then
  local prefix, tenant = string.match(KEYS[1], '^(.*):session:([^/]+)/')
  use = prefix .. ':tenant:' .. tenant

  function read_quotas()
    local packed = redis.call('HGET', prefix .. ':tenants', tenant)
    return packed and cmsgpack.unpack(packed) or {}
  end

  function add_use(field, number)
    if number ~= 0 and redis.call('HINCRBY', use, field, number) == 0 then redis.call('HDEL', use, field) end
  end
end
