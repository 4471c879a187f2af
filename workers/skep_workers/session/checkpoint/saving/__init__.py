"""From a namespace to a manifest: which variables are pickled together, in which process, and within which limits.

`snapshots` decides whether a snapshot is needed and whether the main thread or a forked child takes it. `assembling`
makes one of the streams that `streams` and `pickling` provide. Imports `restoring` to try whether it can be restored.
"""
