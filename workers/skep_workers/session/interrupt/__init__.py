"""Interrupting a cell from outside: the exception must reach user code, and only user code.

Imports `compilation` and the folders below it. The last step, killing the process, belongs to the host.
"""
