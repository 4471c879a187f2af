"""How single kinds of objects become bytes, and the functions that make them again; one kind of object in each module.

A reducer returns what `__reduce_ex__` would return. Imports no other folder of the checkpoints.
"""
