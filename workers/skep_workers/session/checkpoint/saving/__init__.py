"""From a namespace to a manifest: what is pickled together, by whom, and within which limits.

`snapshots` decides whether a snapshot is needed and whether the main thread or a forked `child` takes it; `assembling`
puts one together, and has `restoring` try it where that is in doubt.
"""
