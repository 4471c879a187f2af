"""What crosses a boundary: frames, events, models, keys, scripts, settings, errors.

Nothing here knows the producer or the workers. A session process imports only `frames`, `values`, `states` and
`errors` of this package.
"""

__version__ = "0.1.0"
