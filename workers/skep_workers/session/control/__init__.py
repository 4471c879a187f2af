"""The control thread: requests of the host that can't wait for the end of a cell, such as interrupt and inspect.

Imports `output`, `interrupt` and `runtime`. Never runs code of a cell.
"""
