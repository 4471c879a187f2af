-- Creates a webhook, or replaces what one asks for; a disabled one is enabled again.
--
-- KEYS 1 webhooks (hash)  2 the webhook (hash)  3 its failures (hash)  4 its lease (string)
-- ARGV 1 its full name, TENANT/NAME or /NAME  2 what it asks for  3 how many a tenant may have  4 how many the shard may have
-- Returns {'OK'} or {'FULL', number, bound}
-- Invariant: a process that sends for the earlier definition has lost the lease. Cursors remain. Sent again it changes nothing.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  local names = redis.call('HKEYS', KEYS[1])
  if #names >= tonumber(ARGV[4]) then return {'FULL', #names, tonumber(ARGV[4])} end
  local tenant, own = string.match(ARGV[1], '^[^/]*/'), 0
  for i = 1, #names do
    if string.sub(names[i], 1, #tenant) == tenant then own = own + 1 end
  end
  if own >= tonumber(ARGV[3]) then return {'FULL', own, tonumber(ARGV[3])} end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
return {'OK'}
