"""Events for followers, as server-sent events: one read of each session for all of its followers.

`sse` is the format. `feeds` reads the sessions and passes each new event to all of their streams. Imports the client
and `skep_shared`; knows no routes.
"""
