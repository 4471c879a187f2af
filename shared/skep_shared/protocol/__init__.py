"""The protocol between a worker host and a session process: frames, their encoding, and the memory that both share.

Imports the standard library and msgpack only, because every session process loads it. Does no I/O of its own.
"""
