"""Protection of the engine from user code that patches modules, uses up resources or raises in signal handlers.

Clocks, threads, built-in functions and descriptors as they were before any cell ran. Imports no other folder of the
session process.
"""
