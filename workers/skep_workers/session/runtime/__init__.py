"""The environment that cells run in: the event loop, the namespace, child processes, open files, exit handlers.

Imports `errors`, `attribution` and `safeguards`. Runs no cell itself: that is `execution`.
"""
