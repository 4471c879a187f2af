"""What a snapshot need not look at again, and the proof of it: fingerprints of values, clean pages of large buffers.

Nothing here pickles, and nothing here runs user code. Imports `reducers.definitions` only.
"""
