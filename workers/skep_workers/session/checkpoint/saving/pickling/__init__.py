"""How the objects of one stream become bytes: the pickler, and what it notes about the objects it meets.

Imports the `reducers`. Never decides which variables share a stream: that is what `streams` does.
"""
