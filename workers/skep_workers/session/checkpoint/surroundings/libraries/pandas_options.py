"""The options of pandas."""

import re
import sys
import warnings
from importlib import import_module
from itertools import chain
from typing import Any, Final

from skep_workers.session.checkpoint.surroundings.object_memory import identities
from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_plain
from skep_workers.session.display.page_width import PANDAS_OPTIONS

_NONE: Final = object()
_NAMED: Final = "pandas.get_option({!r})"
# One option in what `describe_option` returns: its name, and at the end its default and present value as texts.
_NAME: Final = re.compile(r"^([\w.]+) :", re.MULTILINE)
_VALUES: Final = re.compile(r"\[default: (.*)\] \[currently: (.*)\]", re.DOTALL)


class PandasOptions(Part):
    """The options that have neither their defaults nor the values that each session sets for its displays."""

    name = "pandas options"
    library = "pandas"

    def __init__(self) -> None:
        self._groups: list[dict[str, Any]] = []
        self._values: tuple[Any, ...] = ()
        self._seen = b""
        self._latest: Reading | None = None

    def prepare(self) -> None:
        """Read the options once: pandas takes milliseconds to describe them."""
        if self.library in sys.modules:
            self.read()

    def read(self) -> Reading | None:
        """Return the options that were set. They are searched for only after a value has become another object."""
        pandas = sys.modules["pandas"]
        if not self._groups:
            self._groups = list(_groups(pandas.options.d))
        values = tuple(chain.from_iterable([group.values() for group in self._groups]))
        if (seen := identities(values)) != self._seen:
            self._latest = self._changed(pandas)
            # The values are kept alive: otherwise another object could get the same address.
            self._values, self._seen = values, seen
        return self._latest

    @staticmethod
    def _changed(pandas: Any) -> Reading | None:
        text = pandas.describe_option("", _print_desc=False)
        starts = [found.start() for found in _NAME.finditer(text)]
        names = []
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
            found, values = _NAME.match(text, start), _VALUES.search(text, start, end)
            if found is not None and values is not None and (values[1] != values[2] or found[1] in PANDAS_OPTIONS):
                names.append(found[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # options may be deprecated
            changed = {name: pandas.get_option(name) for name in names}
        changed = {name: value for name, value in changed.items() if value != PANDAS_OPTIONS.get(name, _NONE)}
        plain = {name: value for name, value in changed.items() if is_plain(value)}
        objects = {_NAMED.format(name): value for name, value in changed.items() if name not in plain}
        return (plain, objects) if changed else None

    def restore(self, state: Any) -> None:
        """Set the options that have plain values."""
        _set(state)

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the options that are functions."""
        if objects:
            _set({name.removeprefix("pandas.get_option('").removesuffix("')"): each for name, each in objects.items()})


def _set(options: dict[str, Any]) -> None:
    pandas: Any = import_module("pandas")
    failed = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in options.items():
            try:
                pandas.set_option(name, value)
            except Exception as exc:  # noqa: BLE001 - an option that this version doesn't have affects no other
                failed.append(f"{name}: {exc}")
    if failed:
        raise ValueError("; ".join(failed))


def _groups(options: dict[str, Any]) -> Any:
    yield options
    for value in options.values():
        if isinstance(value, dict):
            yield from _groups(value)
