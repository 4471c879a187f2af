"""Objects of the standard library, as bytes and back: locks, loggers, paths, context variables, ctypes.

One kind of object in each module. A function that makes objects again has its number in `stored_names`.
"""
