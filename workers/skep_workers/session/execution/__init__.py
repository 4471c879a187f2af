"""Running cells: translate, compile, route, execute on the loop or in the main thread, report how each ended.

Imports most other folders of the session process; only `wiring` and the modules above it import this one.
"""
