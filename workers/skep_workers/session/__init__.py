"""The session process: holds one session's namespace and runs its cells.

Only the standard library, msgpack and skep_shared's frames, values, states and errors are imported here:
whatever is loaded in the zygote is in every session's memory.
"""
