"""What a session has besides its names: working directory and files, environment, search path, random state.

Read after every cell, so reading must be cheap; restored before any name is. Of `reducers` it
imports `definitions` and `paths`, of other folders nothing.
"""
