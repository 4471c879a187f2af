"""A session's record as a document: a notebook in Jupyter's format, and a page of HTML made from that.

Imports the client's folds and readers of events. Text of a session is data here: it is never run, and reaches a page
only escaped, as the source of an image, or in a frame that may do nothing.
"""
