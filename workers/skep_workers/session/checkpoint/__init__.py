"""Checkpoints: the namespace as blobs and a manifest that names them, and back.

`taking` saves, `restoring` restores; `pickling` is what both agree on. Only a session process ever unpickles.
"""
