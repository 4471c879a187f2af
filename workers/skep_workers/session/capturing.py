"""`%%capture`: what a cell puts out is kept in the session instead of sent.

It is taken where all output of a cell comes together, so that what C code and commands write is kept, too. What the
cell's tasks and threads put out after its end is output as any other.
"""

import builtins
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from skep_workers.session.shield import Shield
from skep_workers.session.writer import Writer

if TYPE_CHECKING:
    from skep_workers.session.link import CellLink

STREAMS: Final = ("stdout", "stderr")
DISPLAY: Final = "display"
_PREFIX: Final = "--no-"


class Capture(NamedTuple):
    """What a `%%capture` keeps, and the variable that gets it ('': none)."""

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


class CapturedOutput:
    """What a cell has put out: `stdout` and `stderr`, and in `outputs` the MIME bundles of what it showed."""

    def __init__(self, stdout: str, stderr: str, outputs: list[dict[str, Any]]) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.outputs = outputs

    def __str__(self) -> str:
        return self.stdout

    def __repr__(self) -> str:
        return f"<captured: {len(self.stdout)} of stdout, {len(self.stderr)} of stderr, {len(self.outputs)} outputs>"

    def show(self) -> None:
        """Put all of it out now."""
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        for bundle in self.outputs:
            builtins.display(bundle, raw=True)  # type: ignore[attr-defined]  # the session's own

    __call__ = show


class Diversion:
    """Where one cell's output goes instead of to the host."""

    def __init__(self, writer: Writer, kinds: frozenset[str]) -> None:
        self._writer = writer
        self._texts: dict[str, list[str]] = {stream: [] for stream in STREAMS if stream in kinds}
        self._bundles: list[dict[str, Any]] | None = [] if DISPLAY in kinds else None

    def takes_text(self, writer: Writer, stream: str, text: str) -> bool:
        """Keep text; False if it isn't to be kept."""
        texts = self._texts.get(stream) if writer == self._writer else None
        if texts is None:
            return False
        texts.append(text)
        return True

    def takes_bundle(self, writer: Writer, bundle: dict[str, Any]) -> bool:
        """Keep what is shown; False if it isn't to be kept."""
        if self._bundles is None or writer != self._writer:
            return False
        self._bundles.append(bundle)
        return True

    def takes_clearing(self, writer: Writer) -> bool:
        """Forget what was shown so far; False if that isn't here."""
        if self._bundles is None or writer != self._writer:
            return False
        self._bundles.clear()
        return True

    def output(self) -> CapturedOutput:
        """Give what was kept."""
        stdout, stderr = ("".join(self._texts.get(stream, ())) for stream in STREAMS)
        return CapturedOutput(stdout, stderr, self._bundles or [])


class Capturing:
    """Keeps what cells put out, and binds the names that they give for it."""

    def __init__(self, link: "CellLink", shield: Shield, drain: Callable[[], None], names: dict[str, Any]) -> None:
        """`drain` takes what was written to the pipes of descriptors 1 and 2."""
        self._link = link
        self._shield = shield
        self._drain = drain
        self._names = names

    @contextmanager
    def around(self, capture: Capture, writer: Writer, inner: AbstractContextManager[None]) -> Iterator[None]:
        """Keep what one cell puts out, also what `inner` does at its end; the name is bound however it ends."""
        diversion = Diversion(writer, capture.kinds)
        try:
            self._link.divert(diversion)
            with inner:
                yield
        finally:
            with self._shield:
                self._drain()
                self._link.divert(None)
                if capture.name:
                    self._names[capture.name] = diversion.output()
