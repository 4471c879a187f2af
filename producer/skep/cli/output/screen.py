"""Print for people: with colours and spinners on a terminal, as plain text elsewhere.

The output of cells is printed at once. On a terminal it may set colours and move within its lines, as progress bars do;
other escape sequences (titles, clipboards, queries) are removed.
"""

import asyncio
import re
import sys
from typing import Final

from rich.console import Console, RenderableType
from rich.status import Status
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text

SPINNER_DELAY_SECONDS: Final = 0.15
CODE_THEME: Final = "ansi_dark"  # the terminal's own sixteen colours, so that it fits light and dark ones
_STYLES: Final = {"stdout": "", "stderr": "dim red", "result": "green", "answer": "cyan"}
_ESCAPES: Final = re.compile(
    r"\x1b\[[0-9;:]*[ABCDGKm]"  # permitted: colours, moving within lines and clearing them
    r"|(\x1b\[[0-?]*[ -/]*[@-~]|\x1b[PX^_\]][^\x1b\x07]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x07\x0b-\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f])"
)
_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*[ABCDGKm]|[\b\r\x1b]")
_NO_CONTROLS: Final = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def terminal_safe(text: str) -> str:
    """Return the text without sequences that could harm a terminal."""
    return _ESCAPES.sub(lambda match: "" if match[1] else match[0], text)


def plain_text(text: str) -> str:
    """Return the text without any control sequence, for places where colours and moves make no sense."""
    return _COLOURS.sub("", terminal_safe(text))


class Screen:
    """stdout and stderr of this command.

    merged: print everything to stdout, for commands whose subject is the record itself. margin: printed before each
    line of cells' output. raw: print the cells' output unchanged, also to a terminal.
    """

    def __init__(self, *, merged: bool = False, margin: str = "", raw: bool = False) -> None:
        self.out: Final = _console(sys.stdout)
        self.err: Final = self.out if merged else _console(sys.stderr)
        self.margin = margin
        self._is_raw = raw
        self._partial: dict[str, bool] = {}  # by place: whether its last line has not ended yet
        self._cut: set[str] = set()  # streams whose unfinished line was ended here
        self._status: Status | None = None
        self._label = ""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_terminal(self) -> bool:
        """Return whether the output is a terminal, so that progress may be shown."""
        return self.err.is_terminal

    def write(self, stream: str, text: str) -> None:
        """Print a cell's output (`stdout`, `stderr`), or its `result`."""
        console = self.err if stream == "stderr" else self.out
        self._emit(console, text, _STYLES[stream])

    def line(self, stream: str, text: str) -> None:
        """Print text that begins on a new line and ends its last one."""
        self.end_line()
        self.write(stream, text if text.endswith("\n") else text + "\n")

    def traceback(self, text: str) -> None:
        """Print a traceback, coloured on a terminal."""
        if not self.err.is_terminal:
            self.line("stderr", text)
            return
        self.end_line()
        shown = Syntax("", "pytb", theme=CODE_THEME, background_color="default").highlight(self._safe(text))
        shown.rstrip()
        self._print(_moved_in(shown, self.margin), error=True)

    def print(self, shown: RenderableType, *, error: bool = False) -> None:
        """Print our own text on a line of its own; text from a session in it can't harm the terminal."""
        if isinstance(shown, Text) and not self._is_raw:
            shown = shown.copy()
            # The number of characters remains the same, so that colours keep their places.
            shown.plain = shown.plain.translate(_NO_CONTROLS)
        self._print(shown, error=error)

    def _print(self, shown: RenderableType, *, error: bool = False) -> None:
        self.end_line()
        console = self.err if error else self.out
        console.print(shown, soft_wrap=not console.is_terminal)

    def note(self, text: str, style: str = "dim") -> None:
        """Print a note about the work, apart from the output."""
        self.print(Text(text if self._is_raw else plain_text(text), style), error=True)

    def end_line(self) -> None:
        """End a cell's unfinished line, if there is one."""
        self._hide()
        for console in (self.out, self.err):
            if self._partial.pop(_place(console), False):
                console.file.write("\n")
                console.file.flush()
                self._cut.add(_place(console))
        self._arm()

    def typed(self, *, ended: bool) -> None:
        """Record that the terminal has echoed typed text: a line that has `ended`, or ^C."""
        if self.is_terminal:
            self._hide()
            self._partial["terminal"] = not ended

    def busy(self, label: str) -> None:
        """Show a spinner with this label whenever there was no output for a moment, until `idle` is called."""
        self._hide()
        self._label = label
        self._arm()

    def idle(self) -> None:
        """Show no spinner any more."""
        self._label = ""
        self._hide()

    def code(self, source: str) -> Text:
        """Return Python source, coloured where colours are shown."""
        source = self._safe(source.strip("\n").rstrip()) if self.out.is_terminal else source.strip("\n").rstrip()
        if not self.out.is_terminal:
            return Text(source)
        shown = Syntax("", "python", theme=CODE_THEME, background_color="default").highlight(source)
        shown.rstrip()
        return shown

    def _emit(self, console: Console, text: str, style: str) -> None:
        self._hide()
        place = _place(console)
        if place in self._cut:
            self._cut.discard(place)
            text = text.removeprefix("\n")
        if not text:
            return
        if console.is_terminal:
            text = self._safe(text)
        if self.margin:
            start = "" if self._partial.get(place) else self.margin
            text = start + text[:-1].replace("\n", "\n" + self.margin) + text[-1:]
        self._partial[place] = not text.endswith("\n")
        if style and console.color_system is not None and not console.no_color:
            text = Style.parse(style).render(text)
        console.file.write(text)
        console.file.flush()
        self._arm()

    def _safe(self, text: str) -> str:
        return text if self._is_raw else terminal_safe(text)

    def _arm(self) -> None:
        if self._label and self.is_terminal and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SPINNER_DELAY_SECONDS, self._show)

    def _show(self) -> None:
        self._timer = None
        if not any(self._partial.values()) and self._status is None:
            self._status = Status(Text(self._label, "dim"), console=self.err, spinner="dots")
            self._status.start()

    def _hide(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._status is not None:
            self._status.stop()
            self._status = None


def _console(file: object) -> Console:
    return _PipeAwareConsole(file=file, highlight=False, soft_wrap=False)  # type: ignore[arg-type]


class _PipeAwareConsole(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would exit at once, and what this command has started would not be stopped


def _place(console: Console) -> str:
    return "terminal" if console.is_terminal else "stdout" if console.file is sys.stdout else "stderr"


def _moved_in(text: Text, margin: str) -> Text:
    return Text("\n").join(Text.assemble(margin, line) for line in text.split("\n")) if margin else text
