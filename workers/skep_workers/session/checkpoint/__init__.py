"""Checkpoints: a session's namespace and surroundings as chunks and a manifest that names them, and back.

`checkpointer` is the interface of this folder: the rest of the session process calls nothing else here. `saving` makes
a manifest, `restoring` reads one, `reducers` convert single objects to bytes and back, `unchanged` finds what need not
be saved again, and `surroundings` is what a session has besides its names: environment, search path, files. Only a
session process ever unpickles. Never talks to Redis, never imports the host.
"""
