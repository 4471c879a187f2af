-- Scripts run in Redis, whose interpreter is Lua 5.1 with these globals. Setting a global fails there.
std = {
  read_globals = {
    "redis", "cjson", "cmsgpack", "bit", "struct", "KEYS", "ARGV",
    "assert", "error", "ipairs", "math", "next", "pairs", "pcall", "select", "string", "table", "tonumber", "tostring",
    "type", "unpack", "xpcall",
  },
}
max_line_length = false
-- What scripts get from the ones that they include.
local given = {
  [{"enqueue_activation", "enqueue_job"}] = {"activate", "close", "control", "defer", "submit"},
  [{"option_in", "is_as_strong"}] = {"claim", "close", "facts", "fork", "list", "open", "submit"},
  [{"use", "read_quotas", "add_use"}] = {
    "charge", "charge_cpu", "claim", "close", "commit", "expire", "fork", "open", "purge", "release", "submit",
  },
}
local globals_of = {}
for globals, scripts in pairs(given) do
  for _, script in ipairs(scripts) do
    globals_of[script] = globals_of[script] or {}
    for _, name in ipairs(globals) do table.insert(globals_of[script], name) end
  end
end
for script, globals in pairs(globals_of) do files["**/" .. script .. ".lua"] = {read_globals = globals} end
files["**/options.lua"] = {ignore = {"211"}}
files["**/queue.lua"] = {ignore = {"211"}}
files["**/tenant.lua"] = {ignore = {"211"}}
