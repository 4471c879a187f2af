-- Part of the scripts that include it: reads the options of a session, as clients store them (msgpack).
--
-- Touches no key.
-- Invariant: an option that is not stored has its default: nil here. Options that can't be read have none, and a session
--      with such options doesn't start, since workers can't read them either.

-- Returns one option. Most sessions have few, so the packed text is searched for its name first.
local function option_in(options, name)
  if not (options and string.find(options, name, 1, true)) then return nil end
  local is_readable, fields = pcall(cmsgpack.unpack, options)
  return is_readable and type(fields) == 'table' and fields[name] or nil
end

-- Returns whether a tier of the sandbox is the wanted one or a stronger one; nil: no sandbox. The order is that of
-- skep_shared/sandbox_tiers.py. A tier that this version doesn't know is never strong enough.
local function is_as_strong(tier, wanted)
  if (wanted or 'none') == 'none' then return true end
  local strength = {none = 0, basic = 1, userns = 2, strict = 3}
  return (strength[tier or 'none'] or -1) >= (strength[wanted] or 4)
end
