"""Control groups of sessions: the kernel limits memory and processes by them, and divides processor time.

Imports only the sandbox's kernel interfaces and `skep_shared`. Where no group can be made, `limits` measures instead.
"""
