"""input() and getpass(): a request among the output, and an answer from a client that follows the session.

The main thread waits, interruptibly, and the control thread delivers the answer. Without an answer by the deadline, or
where the session doesn't allow input, the code gets EOFError, as at the end of a file. If a cell has replaced
`sys.stdin`, a line of the replacement is read instead, as in any program.
"""

import builtins
import getpass
import itertools
import sys
from collections.abc import Callable
from threading import Lock  # bound early: user code may patch threading
from typing import Any, Final

from skep_shared.protocol.frames import InputRequest
from skep_workers.session.errors.tracebacks import shortened
from skep_workers.session.output.link import CellLink
from skep_workers.session.safeguards.native_threads import Event
from skep_workers.session.safeguards.private_names import private

DEFAULT_DEADLINE_SECONDS: Final = 3600.0
_read_line: Final = builtins.input
MAX_PROMPT_CHARS: Final = 16 * 1024
_read_visible_password: Final[Callable[[str, Any, Any], str]] = private(
    getpass, "_raw_input", lambda prompt, _stream, _input: _read_line(prompt), "getpass writes its prompt to stdout"
)


class UserInput:
    """Requests one line at a time."""

    def __init__(self, link: CellLink) -> None:
        self._link = link
        self._own_stdin: Any = sys.__stdin__
        self._numbers = itertools.count(1)
        self._turn = Lock()
        self._answered = Event()
        self._number = 0
        self._answer: str | None = None
        self.allow_input = True
        self.deadline_seconds = DEFAULT_DEADLINE_SECONDS

    def install(self) -> None:
        """Replace input() and getpass.getpass()."""
        builtins.input = self.request_line
        getpass.getpass = self.request_password

    def request_line(self, prompt: Any = "", /) -> str:
        """Request a line. Raises EOFError."""
        if sys.stdin is not self._own_stdin:
            return _read_line(prompt)
        return self._request(shortened(str(prompt), MAX_PROMPT_CHARS), is_password=False)

    def request_password(self, prompt: Any = "Password: ", stream: Any = None) -> str:
        """Request a password, which appears in no event. Raises EOFError."""
        if sys.stdin is not self._own_stdin and sys.stdin is not None:
            return _read_visible_password(prompt, stream or sys.stderr, sys.stdin)
        return self._request(shortened(str(prompt), MAX_PROMPT_CHARS), is_password=True)

    def deliver_answer(self, number: int, text: str | None) -> None:
        """Deliver an answer; the control thread calls this. A late one, to another request, is dropped."""
        if number == self._number and not self._answered.is_set():
            self._answer = text
            self._answered.set()

    def _request(self, prompt: str, *, is_password: bool) -> str:
        if self._link.is_forked_copy or not self.allow_input:
            raise EOFError("this session takes no input (allow_input is off)")
        with self._turn:
            sys.stdout.flush()
            writer = self._link.writer
            self._answer = None
            self._answered.clear()
            self._number = next(self._numbers)
            self._link.queue_frame(InputRequest(writer.seq, writer.attempt, self._number, prompt, is_password))
            try:
                answered = self._answered.wait(self.deadline_seconds)
            finally:
                self._number = 0
        if not answered:
            raise EOFError(f"no answer within {self.deadline_seconds:g} s")
        if self._answer is None:
            raise EOFError("the request for input was closed without an answer")
        return self._answer
