"""NumPy's generators of random numbers, as bytes and back, one with the bit generator that they draw from.

NumPy before 2.0 saves a generator as the state of its bit generator, so that a name for that would be another one's.
"""

from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer, module_of


def reducer_of(kind: type) -> Reducer | None:
    """Return what saves an instance of a class of NumPy; None if pickle does."""
    return _reduce_generator if kind.__name__ == "Generator" and module_of(kind).startswith("numpy.random") else None


def _reduce_generator(generator: Any) -> Reduced:
    return type(generator), (generator.bit_generator,)
