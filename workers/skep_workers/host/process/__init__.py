"""A session process as seen from the host: the zygote that forks it, its directory, its sockets, and its certain end.

Imports `skep_shared.protocol`. Never talks to Redis.
"""
