"""The session process: holds one session's namespace and runs its cells.

It imports only the standard library, msgpack, and skep_shared's frames, values, states and errors: every module that
the zygote loads is in every session's memory.
"""
