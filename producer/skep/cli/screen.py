"""Where everything that people read goes: colours and spinners on a terminal, plain text elsewhere.

What cells write is passed on as it comes. On a terminal it may colour itself and move within its lines, as progress
bars do; whatever else an escape sequence could do there (titles, clipboards, queries) is left out.
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
    r"\x1b\[[0-9;:]*[ABCDGKm]"  # kept: colours, moving in and clearing of lines
    r"|(\x1b\[[0-?]*[ -/]*[@-~]|\x1b[PX^_\]][^\x1b\x07]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x07\x0b-\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f])"
)
_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*[ABCDGKm]|[\b\r\x1b]")
_NO_CONTROLS: Final = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def terminal_safe(text: str) -> str:
    """Give the text without what could do harm to the terminal it is shown on."""
    return _ESCAPES.sub(lambda match: "" if match[1] else match[0], text)


def plain_text(text: str) -> str:
    """Give the text without any control sequence, for places where colours and moves make no sense."""
    return _COLOURS.sub("", terminal_safe(text))


class Screen:
    """stdout and stderr of this command.

    merged: everything goes to stdout, for commands whose subject is the record itself. margin: what each line of cells'
    output is moved in by. raw: a terminal, too, gets what cells write as it is.
    """

    def __init__(self, *, merged: bool = False, margin: str = "", raw: bool = False) -> None:
        self.out: Final = _console(sys.stdout)
        self.err: Final = self.out if merged else _console(sys.stderr)
        self.margin = margin
        self._is_raw = raw
        self._partial: dict[str, bool] = {}  # by place: whether its last line has not ended yet
        self._cut: set[str] = set()  # places where that line was ended here, before its own end has come
        self._status: Status | None = None
        self._label = ""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_live(self) -> bool:
        """Tell whether somebody watches: progress may be shown."""
        return self.err.is_terminal

    def write(self, stream: str, text: str) -> None:
        """Show what a cell wrote (`stdout`, `stderr`), or its `result`."""
        console = self.err if stream == "stderr" else self.out
        self._emit(console, text, _STYLES[stream])

    def line(self, stream: str, text: str) -> None:
        """Show text that has lines of its own, whatever was written before."""
        self.end_line()
        self.write(stream, text if text.endswith("\n") else text + "\n")

    def traceback(self, text: str) -> None:
        """Show a traceback."""
        if not self.err.is_terminal:
            self.line("stderr", text)
            return
        self.end_line()
        shown = Syntax("", "pytb", theme=CODE_THEME, background_color="default").highlight(self._safe(text))
        shown.rstrip()
        self._print(_moved_in(shown, self.margin), error=True)

    def print(self, shown: RenderableType, *, error: bool = False) -> None:
        """Show something of ours on a line of its own; what it has of a session's words can't harm the terminal."""
        if isinstance(shown, Text) and not self._is_raw:
            shown = shown.copy()
            shown.plain = shown.plain.translate(_NO_CONTROLS)  # as many characters: its colours stay in their places
        self._print(shown, error=error)

    def _print(self, shown: RenderableType, *, error: bool = False) -> None:
        self.end_line()
        console = self.err if error else self.out
        console.print(shown, soft_wrap=not console.is_terminal)

    def note(self, text: str, style: str = "dim") -> None:
        """Say something about the work, beside the output."""
        self.print(Text(text if self._is_raw else plain_text(text), style), error=True)

    def end_line(self) -> None:
        """End the line that a cell has left open, if there is one."""
        self._hide()
        for console in (self.out, self.err):
            if self._partial.pop(_place(console), False):
                console.file.write("\n")
                console.file.flush()
                self._cut.add(_place(console))
        self._arm()

    def typed(self, *, ended: bool) -> None:
        """Somebody has typed something that the terminal shows: a line that has `ended`, or ^C."""
        if self.is_live:
            self._hide()
            self._partial["terminal"] = not ended

    def busy(self, label: str) -> None:
        """Show that something is awaited whenever nothing has come for a moment; until `idle`."""
        self._hide()
        self._label = label
        self._arm()

    def idle(self) -> None:
        """Nothing is awaited any more."""
        self._label = ""
        self._hide()

    def code(self, source: str) -> Text:
        """Give Python source, coloured where colours are shown."""
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
        if self._label and self.is_live and self._timer is None:
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
        raise BrokenPipeError  # rich would exit here and now, past everything that must be stopped first


def _place(console: Console) -> str:
    return "terminal" if console.is_terminal else "stdout" if console.file is sys.stdout else "stderr"


def _moved_in(text: Text, margin: str) -> Text:
    return Text("\n").join(Text.assemble(margin, line) for line in text.split("\n")) if margin else text
