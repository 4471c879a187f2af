"""Which warnings cells have shown: Python shows a warning of one line once, and a session once in each cell."""

from typing import Any, Final

from skep_workers.session.compilation import compiling
from skep_workers.session.execution import async_executor
from skep_workers.session.runtime.internals import WARNINGS

_OF_A_LINE: Final = 3  # items in the key of a line's warning: text, category and line; a line of 0 means all lines
# A warning with `stacklevel=2` at a cell's top level is recorded in the module that has called the cell's code.
_COMPILING: Final = vars(compiling)
_AWAITING: Final = vars(async_executor)


def forget_warnings(names: dict[str, Any]) -> None:
    """Forget the warnings of cells with these global names. Costs next to nothing if there are none.

    Records of the filters "once" and "module" are retained, since they are about more than one line. All cells share
    their global names, so a warning that the interpreter has attributed to any cell is recorded there.
    """
    if WARNINGS in names:
        _forget_lines(names[WARNINGS])
    if WARNINGS in _COMPILING:
        _forget_lines(_COMPILING[WARNINGS])
    if WARNINGS in _AWAITING:
        _forget_lines(_AWAITING[WARNINGS])


def _forget_lines(recorded: Any) -> None:
    if type(recorded) is dict:
        for key in [key for key in recorded if type(key) is tuple and len(key) == _OF_A_LINE and key[2]]:
            recorded.pop(key, None)
