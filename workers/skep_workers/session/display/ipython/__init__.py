"""The stand-in for IPython.display in a session where IPython isn't installed; see `library_hooks`.

Only imported when a cell imports IPython. May import the standard library and the display package.
"""
