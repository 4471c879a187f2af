"""The state of a session besides its names: working directory and files, and the ambient state.

The ambient state has parts (`part`), one module for each: environment, search path, generators, filters, hooks, the
process-wide state of libraries. `ambient` reads them after every cell, so reading must be cheap. It restores some parts
before any variable, since loading depends on them, and the others after all variables. Objects in the ambient state are
saved like variables.

Not saved, and so the same as in a new process after a restore: resource limits, handlers of real-time signals,
functions registered with atexit, the seed of polars (it can be set but not read), print options of torch.

Imports `reducers` only.
"""
