"""Output of a child process that user code forked: it goes to the inherited pipes, since the socket is the parent's."""

from typing import Final

from skep_shared.originals import os

MAX_PARTIAL_LINE_CHARS: Final = 4 * 1024


class ForkedOutput:
    """Writes whole lines: those of several children must not mix."""

    def __init__(self) -> None:
        self._partial_lines: dict[str, str] = {}

    def write(self, stream: str, text: str) -> None:
        """Write the lines that are complete now. A very long partial line is written as well."""
        lines, newline, rest = (self._partial_lines.pop(stream, "") + text).rpartition("\n")
        if len(rest) > MAX_PARTIAL_LINE_CHARS:
            lines, newline, rest = lines + newline, rest, ""
        if rest:
            self._partial_lines[stream] = rest
        _write_all(stream, lines + newline)

    def flush(self) -> None:
        """Write the partial lines."""
        for stream in list(self._partial_lines):
            _write_all(stream, self._partial_lines.pop(stream))


def _write_all(stream: str, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(2 if stream == "stderr" else 1, data) :]
