"""What a snapshot need not read again, and the proof: fingerprints of values, clean pages of large buffers.

Never pickles and never runs user code. Imports the `reducers` only.
"""
