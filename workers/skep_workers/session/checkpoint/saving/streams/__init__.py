"""Which variables are pickled together, and each of these groups as a stream.

Variables that share something that can change go into one stream; definitions have a stream of their own. Imports
`pickling`. Never writes a chunk and never makes a manifest: that is what `assembling` does.
"""
