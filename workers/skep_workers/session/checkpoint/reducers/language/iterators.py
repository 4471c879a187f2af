"""Iterators of `itertools`, as bytes and back; checkpoints refer to the function here that makes them.

They have `__reduce__` up to Python 3.13, from 3.12 on with a deprecation warning, which users should not see.
"""

import itertools
import warnings
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced

ITERATORS: Final = tuple(kind for kind in vars(itertools).values() if isinstance(kind, type))


def reduce_iterator(iterator: Any) -> Reduced:
    """Reduce an iterator at its present position. Raises TypeError if it has no `__reduce__`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return make_iterator, tuple(iterator.__reduce__())


def make_iterator(make: Any, arguments: tuple[Any, ...], *state: Any) -> Any:
    """Make an iterator at the position that it had."""
    made = make(*arguments)
    if state and state[0] is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.__setstate__(state[0])
    return made
