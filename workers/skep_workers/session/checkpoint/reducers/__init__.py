"""How single kinds of objects become bytes, and the functions that make them again; one kind of object a module.

A reducer returns what `__reduce_ex__` would. Imports no other folder of the checkpoint wing.
"""
