"""`%%capture`: its options, and the context manager that captures the output of its cell."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NamedTuple

from skep_workers.session.attribution.writer import Writer
from skep_workers.session.output.diversion import DISPLAY, STREAMS, Diversion
from skep_workers.session.output.link import CellLink
from skep_workers.session.safeguards.shield import Shield

_PREFIX: Final = "--no-"


class Capture(NamedTuple):
    """The kinds of output that a `%%capture` captures, and the variable to bind them to ('': none)."""

    name: str
    kinds: frozenset[str]

    @classmethod
    def read(cls, words: str) -> "Capture":
        """Read `[--no-stdout] [--no-stderr] [--no-display] [NAME]`. Raises ValueError."""
        name, kinds = "", {*STREAMS, DISPLAY}
        for word in shlex.split(words):
            if word.startswith(_PREFIX) and word[len(_PREFIX) :] in {*STREAMS, DISPLAY}:
                kinds.discard(word[len(_PREFIX) :])
            elif word.isidentifier() and not name:
                name = word
            else:
                raise ValueError(f"%%capture takes --no-stdout, --no-stderr, --no-display and one name, not {word!r}")
        return cls(name, frozenset(kinds))


class Capturing:
    """Captures the output of cells, and binds it to the variables that they name."""

    def __init__(self, link: CellLink, shield: Shield, drain: Callable[[], None], names: dict[str, Any]) -> None:
        """`drain` reads what was written to the pipes of descriptors 1 and 2."""
        self._link = link
        self._shield = shield
        self._drain = drain
        self._names = names

    @contextmanager
    def around(self, capture: Capture, writer: Writer, inner: AbstractContextManager[None]) -> Iterator[None]:
        """Capture the output of one cell, including that of the end of `inner`; bind the name however the cell ends."""
        diversion = Diversion(writer, capture.kinds)
        try:
            self._link.set_diversion(diversion)
            with inner:
                yield
        finally:
            with self._shield:
                self._drain()
                self._link.set_diversion(None)
                if capture.name:
                    self._names[capture.name] = diversion.output()
