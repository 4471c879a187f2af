"""Checkpoints on the host: writes chunks to Redis or the store, catalogs checkpoints, removes what is no longer needed.

Imports `broker` and `skep_shared.chunks`. Never unpickles: to the host, the content of a chunk is just bytes.
"""
