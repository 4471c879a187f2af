"""Turns a cell's source into code objects and decides how to run them. Nothing here runs user code.

Imports `runtime` and `errors` at most.
"""
