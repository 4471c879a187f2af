"""NumPy's generators of random numbers, as bytes and back, sharing the bit generator that they draw from.

NumPy before 2.0 saves a generator as the state of its bit generator. A variable that refers to that bit generator would
have another one after a restore.
"""

from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer, module_of


def reducer_of(kind: type) -> Reducer | None:
    """Return the reducer for instances of a class of NumPy; None if pickle does."""
    return _reduce_generator if kind.__name__ == "Generator" and module_of(kind).startswith("numpy.random") else None


def _reduce_generator(generator: Any) -> Reduced:
    return type(generator), (generator.bit_generator,)
