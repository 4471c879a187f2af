"""What a session has besides its names: working directory and files, and the ambient state.

The ambient state has parts (`part`), one module for each: environment, search path, generators, filters, hooks, what
libraries keep for the process. `ambient` reads them after every cell, so reading must be cheap, and restores them: some
before any variable, since loading needs them, the others after all of them. Objects in it travel as variables do.

Nothing tells of these, and they are as in a new process after a restore: resource limits, handlers of real-time
signals, functions registered with atexit, the seed of polars (it can be set and not read), print options of torch.

Imports `reducers` only.
"""
