"""What a worker does periodically for the whole shard: keeping sessions within their bounds, cleaning up the store.

Imports `skep_shared` only. Never touches a session process.
"""
