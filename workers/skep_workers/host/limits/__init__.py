"""The limits of resident sessions that the kernel does not enforce: what a session uses is measured and compared.

Imports `process`. Nothing here runs for a session without such a limit.
"""
