"""A Redis server and workers on this machine, as child processes of the caller: what `skep.embedded()` starts.

Imports the client and `skep_shared`. Workers are started as `python -m skep_workers`; none of their code is imported.
"""
