"""The output of cells: `print`, file descriptors 1 and 2, `input`, and the socket to the host, in one order.

Imports `errors`, `attribution` and `safeguards`. Never decides what a cell does or how it ended.
"""
