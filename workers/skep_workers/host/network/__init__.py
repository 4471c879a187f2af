"""The network of resident sessions: which one each may have here, and the worker's end of the proxy.

Imports `process` and what is below it.
"""
