"""The kernel's mechanisms, one module each, as raw system calls: no package is needed, and none is imported.

Imports nothing of skep. Each function raises OSError with the name of the call that failed.
"""
