"""One session's residency on this worker, from claim to release: its events and commits, its operations, its end.

`cells` runs its cells. Imports `process`, `checkpoint` and `broker`; is used by `residents` only.
"""
