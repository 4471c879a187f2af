"""Which cell an output belongs to: in the main thread, tasks, threads, and the threads of pools that outlive a cell.

Imports `safeguards` only.
"""
