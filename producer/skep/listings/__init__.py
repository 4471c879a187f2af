"""Sessions and workers as the client lists them: pages of Redis's indices, and what is read for each entry.

The cluster and its sessions use it; it knows nothing of cells and their outcomes.
"""
