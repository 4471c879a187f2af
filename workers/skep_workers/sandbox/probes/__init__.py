"""What this machine permits: each mechanism is tried alone, in a forked child, and the machine's settings are read.

Imports `sandbox.kernel` and `sandbox.policy`. Only a process with one thread may use this, see `__main__.py`.
"""
