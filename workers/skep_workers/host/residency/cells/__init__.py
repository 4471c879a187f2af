"""The cells of one residency: how they arrive, run in the session's process, are interrupted, and end as events.

Imports `process`, `checkpoint`, `broker` and the journal; is used by the rest of `residency` only.
"""
