"""Iterators of `itertools`, as bytes and back; checkpoints name the function here that makes them.

They say how they are reduced up to Python 3.13; from 3.12 on with a warning that this will end, which is not for users.
"""

import itertools
import warnings
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced

ITERATORS: Final = tuple(kind for kind in vars(itertools).values() if isinstance(kind, type))


def reduce_iterator(iterator: Any) -> Reduced:
    """Save where an iterator is. Raise TypeError if it doesn't say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return make_iterator, tuple(iterator.__reduce__())


def make_iterator(make: Any, arguments: tuple[Any, ...], *state: Any) -> Any:
    """Make an iterator and put it where it was."""
    made = make(*arguments)
    if state and state[0] is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.__setstate__(state[0])
    return made
