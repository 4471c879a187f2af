"""`rcParams` of matplotlib, which also its styles and seaborn's set."""

import re
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.surroundings.object_memory import identities
from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_plain

_NAMED: Final = "matplotlib.rcParams[{!r}]"
_BACKEND: Final = "backend"
_CYCLER: Final = "cycler"
# In the file of defaults: a name and its text, up to a comment. All lines are commented out.
_LINE: Final = re.compile(r"^#?([\w.-]+) *: *(.*?) *(?:#.*)?$", re.MULTILINE)
_values: Final = dict.values  # `rcParams` itself would choose a backend when it is read


class MatplotlibParameters(Part):
    """The parameters that differ from matplotlib's defaults, and the backend if it isn't the session's."""

    name = "matplotlib"
    library = "matplotlib"

    def __init__(self) -> None:
        self._held: tuple[Any, ...] = ()
        self._seen = b""
        self._latest: Reading | None = None
        self._defaults: dict[str, Any] | None = None

    def read(self) -> Reading | None:
        """Return the parameters that were set, or whose list was changed."""
        parameters = sys.modules["matplotlib"].rcParams
        values = tuple(_values(parameters))
        lists = [value for value in values if type(value) is list]
        held = (*values, *chain.from_iterable(lists))
        if (seen := identities(held)) != self._seen:
            if self._defaults is None:
                self._defaults = _defaults(sys.modules["matplotlib"])
            self._latest = self._changed(parameters, self._defaults)
            self._held, self._seen = held, seen
        return self._latest

    @staticmethod
    def _changed(parameters: Any, defaults: dict[str, Any]) -> Reading | None:
        plain: dict[str, Any] = {}
        objects: dict[str, Any] = {}
        for name, value in dict.items(parameters):
            if name == _BACKEND:
                if type(value) is str and value != os.environ.get("MPLBACKEND"):
                    plain[name] = value
                continue
            known = _plain(value)
            if known != defaults.get(name):
                if is_plain(known):
                    plain[name] = known
                else:
                    objects[_NAMED.format(name)] = value
        return (plain, objects) if plain or objects else None

    def restore(self, state: Any) -> None:
        """Set the parameters in place: other modules refer to the same object."""
        matplotlib: Any = import_module("matplotlib")
        parameters = {name: _made(value) for name, value in state.items() if name != _BACKEND}
        _set(matplotlib, parameters)
        if _BACKEND in state:
            matplotlib.use(state[_BACKEND])

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the parameters that are objects."""
        if objects:
            names = {_NAMED.format(name): name for name in dict.keys(import_module("matplotlib").rcParams)}
            _set(import_module("matplotlib"), {names[each]: value for each, value in objects.items() if each in names})


def _defaults(matplotlib: Any) -> dict[str, Any]:
    """Return the defaults as plain data.

    A list that cells change in place may be the default's own list. So defaults that are lists are read from the file
    that matplotlib is installed with.
    """
    defaults = {name: _plain(value) for name, value in dict.items(matplotlib.rcParamsDefault)}
    path = Path(matplotlib.get_data_path(), "matplotlibrc")
    texts = dict(_LINE.findall(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    for name, value in defaults.items():
        if type(value) is list and value[:1] != [_CYCLER] and name in texts:
            with suppress(Exception):  # the validation of this version may fail
                defaults[name] = _plain(matplotlib.RcParams.validate[name](texts[name]))
    return defaults


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value) if type(value) is str else str(value.value if hasattr(value, "value") else value)
    if type(value).__module__.partition(".")[0] == _CYCLER:
        return [_CYCLER, value.by_key()]
    return list(value) if type(value) is list else value


def _made(value: Any) -> Any:
    if type(value) is list and value[:1] == [_CYCLER]:
        return import_module(_CYCLER).cycler(**value[1])
    return value


def _set(matplotlib: Any, parameters: dict[str, Any]) -> None:
    failed = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parameters may be deprecated
        for name, value in parameters.items():
            try:
                matplotlib.rcParams[name] = value
            except Exception as exc:  # noqa: BLE001 - a parameter that this version doesn't have affects no other
                failed.append(f"{name}: {exc}")
    if failed:
        raise ValueError("; ".join(failed))
