"""The packages that a session installs: in a directory of its own, never in its worker's environment.

`directory` is that directory, which looks like a virtual environment above the worker's packages. It begins as a link
to `environment`, which all sessions of a worker share, and `own_copy` makes it the session's own. `pip_runs` runs pip
in it, `distributions` reads what is installed, `loading` makes it importable in this process, `archive` is its stored
form, `kept` saves and restores it with checkpoints, and `session_packages` is what cells and their magics use. Imports
skep_shared only; knows neither magics nor how a checkpoint is made.
"""
