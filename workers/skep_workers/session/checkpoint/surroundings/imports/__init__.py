"""State that a session's imports have: modules of its own, patches of libraries, registrations, `sys.path`.

Imports `reducers`. Never imports a library that the session has not imported itself.
"""
