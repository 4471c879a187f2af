"""State of the interpreter and its process that cells can change: environment, hooks, warnings, time zone, `random`.

Each module saves and restores one such part. Imports `reducers` and `errors`.
"""
