"""What crosses a boundary: frames, events, models, keys, scripts, settings, errors.

Nothing here knows the producer or the workers. What a session process may not import of this package is a contract in
pyproject.toml.
"""

__version__ = "0.1.0"
