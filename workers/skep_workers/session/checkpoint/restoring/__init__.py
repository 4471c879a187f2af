"""From a manifest and its chunks back to a namespace; a name that can't be restored affects no other name.

Imports `surroundings` and `reducers`. Never imports `saving`.
"""
