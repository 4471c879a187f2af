"""What cells show: values as MIME bundles, the display functions, and what libraries find in the place of IPython's.

`rendering` makes bundles, `publisher` puts them among a cell's output. Sends through the session's link only; imports
no library that shows things before user code has imported it.
"""
