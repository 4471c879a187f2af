"""input() and getpass(): a request among the output, an answer from whoever follows the session.

The main thread waits, interruptibly; the control thread brings the answer. Without an answer by the deadline, and where
the session doesn't allow input, the code gets EOFError, as at the end of a file.
"""

import builtins
import getpass
import itertools
import sys
from threading import Lock  # bound early: user code may patch threading
from typing import Any, Final

from skep_shared.frames import InputRequest
from skep_workers.session.link import CellLink
from skep_workers.session.native_threads import Event
from skep_workers.session.tracebacks import shortened

DEFAULT_DEADLINE_SECONDS: Final = 3600.0
MAX_PROMPT_CHARS: Final = 16 * 1024


class Asker:
    """Asks one question at a time."""

    def __init__(self, link: CellLink) -> None:
        self._link = link
        self._numbers = itertools.count(1)
        self._turn = Lock()
        self._answered = Event()
        self._number = 0
        self._answer: str | None = None
        self.allow_input = True
        self.deadline_seconds = DEFAULT_DEADLINE_SECONDS

    def install(self) -> None:
        """Take the places of input() and getpass.getpass()."""
        builtins.input = self.ask
        getpass.getpass = self.ask_password

    def ask(self, prompt: Any = "", /) -> str:
        """Ask for a line. Raises EOFError."""
        return self._ask(shortened(str(prompt), MAX_PROMPT_CHARS), is_password=False)

    def ask_password(self, prompt: Any = "Password: ", stream: Any = None) -> str:
        """Ask for a password; it is told in no event. Raises EOFError."""
        return self._ask(shortened(str(prompt), MAX_PROMPT_CHARS), is_password=True)

    def answer(self, number: int, text: str | None) -> None:
        """Take an answer, from the control thread; one to another question is late and dropped."""
        if number == self._number and not self._answered.is_set():
            self._answer = text
            self._answered.set()

    def _ask(self, prompt: str, *, is_password: bool) -> str:
        if self._link.is_forked_copy or not self.allow_input:
            raise EOFError("this session takes no input (allow_input is off)")
        with self._turn:
            sys.stdout.flush()
            writer = self._link.writer
            self._answer = None
            self._answered.clear()
            self._number = next(self._numbers)
            self._link.put(InputRequest(writer.seq, writer.attempt, self._number, prompt, is_password))
            try:
                answered = self._answered.wait(self.deadline_seconds)
            finally:
                self._number = 0
        if not answered:
            raise EOFError(f"nobody answered within {self.deadline_seconds:g} s")
        if self._answer is None:
            raise EOFError("the question was closed without an answer")
        return self._answer
