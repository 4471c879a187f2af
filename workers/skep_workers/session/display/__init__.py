"""Rich output of cells: MIME bundles of values, the display functions, and stand-ins for IPython's.

`rendering` makes bundles, and `publisher` adds them to a cell's output. Sends frames through the session's link only.
Imports no plotting or display library before user code has imported it.
"""
