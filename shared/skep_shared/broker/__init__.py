"""Communication of clients and workers through Redis: keys, connections, the Lua scripts, entries, submitting cells.

Each script is a file in `lua/` and a typed function here. Several keys are changed together in scripts only, and key
names are made in `keys` only. Session processes never import this package.
"""
