"""What stands in for IPython.display in a session where IPython isn't installed; see `library_hooks`.

Imported when a cell imports it, and no sooner. May import the standard library and the display package.
"""
