"""Checkpoints as stored bytes: the manifest as it is stored, the stored form of a chunk, and where chunks are stored.

Of Redis, imports only `broker.keys` and `broker.redis_client.redis_url`. Never unpickles anything.
"""
