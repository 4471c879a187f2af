"""Capture of one cell's output: the session keeps it, and the host does not get it.

It is captured where all output of a cell comes together, so output of C code and of commands is captured too. Output of
the cell's tasks and threads after the cell's end is not captured.
"""

import builtins
import sys
from typing import Any, Final

from skep_workers.session.attribution.writer import Writer

STREAMS: Final = ("stdout", "stderr")
DISPLAY: Final = "display"


class CapturedOutput:
    """Output of a cell: `stdout`, `stderr`, and in `outputs` the MIME bundles of what the cell displayed."""

    def __init__(self, stdout: str, stderr: str, outputs: list[dict[str, Any]]) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.outputs = outputs

    def __str__(self) -> str:
        return self.stdout

    def __repr__(self) -> str:
        return f"<captured: {len(self.stdout)} of stdout, {len(self.stderr)} of stderr, {len(self.outputs)} outputs>"

    def show(self) -> None:
        """Output all of it now."""
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        for bundle in self.outputs:
            builtins.display(bundle, raw=True)  # type: ignore[attr-defined]  # the session's own

    __call__ = show


class Diversion:
    """Captures the output of one cell. Each `capture_` method returns whether it has captured its argument."""

    def __init__(self, writer: Writer, kinds: frozenset[str]) -> None:
        self._writer = writer
        self._texts: dict[str, list[str]] = {stream: [] for stream in STREAMS if stream in kinds}
        self._bundles: list[dict[str, Any]] | None = [] if DISPLAY in kinds else None

    def capture_text(self, writer: Writer, stream: str, text: str) -> bool:
        """Capture text, if it is the cell's and its stream is captured."""
        texts = self._texts.get(stream) if writer == self._writer else None
        if texts is None:
            return False
        texts.append(text)
        return True

    def capture_bundle(self, writer: Writer, bundle: dict[str, Any]) -> bool:
        """Capture what is displayed, if it is the cell's and displays are captured."""
        if self._bundles is None or writer != self._writer:
            return False
        self._bundles.append(bundle)
        return True

    def capture_clearing(self, writer: Writer) -> bool:
        """Remove the displays captured so far, if the call is the cell's and displays are captured."""
        if self._bundles is None or writer != self._writer:
            return False
        self._bundles.clear()
        return True

    def output(self) -> CapturedOutput:
        """Return what was captured."""
        stdout, stderr = ("".join(self._texts.get(stream, ())) for stream in STREAMS)
        return CapturedOutput(stdout, stderr, self._bundles or [])
