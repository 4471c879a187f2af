"""Checkpoints: a session's namespace and surroundings as chunks and a manifest that names them, and back.

`checkpointer` is the face of this folder: the rest of the session process calls nothing else here. `saving` makes a
manifest, `restoring` reads one, `reducers` knows how single objects become bytes (both ways), `unchanged` knows what
need not be looked at again, and `surroundings` is what a session has besides its names: environment, search path,
files. Only a session process ever unpickles. Nothing here talks to Redis or imports the host.
"""
