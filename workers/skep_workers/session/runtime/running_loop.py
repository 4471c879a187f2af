"""Decides which event loop appears to be running when code of a cell asks asyncio.

A cell that doesn't await runs while no loop runs, so code that runs a loop of its own (`asyncio.run`, or a library) can
do so. Code that needs a loop (`get_running_loop`, and so `create_task`) gets the session's loop nevertheless. Some
libraries call `get_running_loop` only to find out whether they may run a loop. Such a call is recognised by being
directly inside a `try` with an `except RuntimeError`, outside of a cell's own source; it raises RuntimeError.

A cell that awaits is a task of the session's loop. Its own code may still call `asyncio.run`: meanwhile the session's
loop is hidden and paused. All other code that runs in the loop gets asyncio's usual error.

asyncio looks these functions up in its modules, so they are replaced there, before user code is imported.
"""

import asyncio
import dis
import sys
from asyncio import events, tasks
from collections.abc import Iterator
from threading import get_ident  # bound early: user code may patch threading
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from skep_shared.originals import os
from skep_workers.session.errors.code_places import ASYNCIO_DIRECTORY
from skep_workers.session.safeguards.private_names import private

if TYPE_CHECKING:
    from skep_workers.session.runtime.loop import SessionLoop

CELL_PREFIX: Final = "<cell "  # the beginning of the file names of cells
_OWN_CODE: Final = (CELL_PREFIX, ASYNCIO_DIRECTORY)
_MOST_INSTRUCTIONS: Final = 12  # in an `except` clause before its test

_running: Final[Any] = events._get_running_loop  # noqa: SLF001
_set_running: Final[Any] = events._set_running_loop  # noqa: SLF001
_set_current: Final[Any] = events.set_event_loop
_current_task: Final[Any] = tasks.current_task
_getframe: Final = sys._getframe  # noqa: SLF001
_check_running: Final[Any] = private(
    asyncio.BaseEventLoop, "_check_running", asyncio.run, "a cell that awaits can't run another event loop"
)
# The functions that refuse to run a loop inside another one. Compared by identity, because comparing code objects
# compares all of their contents.
_RUNNERS: Final = frozenset(id(function.__code__) for function in (asyncio.run, asyncio.Runner.run, _check_running))

_exception_table: Final[Any] = private(
    dis, "_parse_exception_table", lambda _code: (), "libraries that ask for a loop get the session's"
)


class LoopQuestions:
    """The state that the answers depend on. Only the main thread uses it."""

    def __init__(self) -> None:
        self.loop: SessionLoop | None = None
        self.main_thread = 0
        self.cell_task: asyncio.Task[Any] | None = None  # the task of the cell that awaits
        self.cell_code: Any = None  # the coroutine of that cell's code, until it has ended

    def bind(self, loop: "SessionLoop") -> None:
        """Use this loop for answers in this thread."""
        self.loop, self.main_thread = loop, get_ident()
        self.cell_task = self.cell_code = None

    def unbind(self) -> None:
        """Answer as asyncio does, in a child that user code has forked: the loop belongs to its parent."""
        if self.loop is not None:
            self.loop.carrier = None
        self.loop = self.cell_task = self.cell_code = None

    @property
    def plain_cells_loop(self) -> "SessionLoop | None":
        """The session's loop, if the calling code belongs to a cell that doesn't await."""
        loop = self.loop
        return loop if loop is not None and loop.carrier is not None and get_ident() == self.main_thread else None


questions: Final = LoopQuestions()
os.register_at_fork(after_in_child=questions.unbind)


def install_loop_questions() -> None:
    """Replace asyncio's functions. Called in the zygote, before it imports the preloaded modules."""
    for function, name in (
        (_get_running_loop_of_cells, "get_running_loop"),
        (_get_running_loop_or_none, "_get_running_loop"),
        (_set_running_loop_of_cells, "_set_running_loop"),
        (_set_event_loop_of_cells, "set_event_loop"),
    ):
        _replace(function, name, events)
    _replace(_current_task_of_cells, "current_task", tasks)


def _replace(function: Any, name: str, module: Any) -> None:
    first = getattr(module, name)
    # A reference to the new function is pickled under the name of the old one, and its documentation is the same.
    function.__module__, function.__name__, function.__qualname__ = module.__name__, name, name
    function.__doc__ = first.__doc__
    for place in (module, asyncio):
        setattr(place, name, function)


def _get_running_loop_of_cells() -> Any:
    loop = _running()
    if loop is not None:
        return loop
    loop = questions.plain_cells_loop
    if loop is None or _only_asks(_getframe(1)):
        raise RuntimeError("no running event loop")
    return loop


def _get_running_loop_or_none() -> Any:
    loop = _running()
    if (
        loop is not None
        and loop is questions.loop
        and id(_getframe(1).f_code) in _RUNNERS
        and get_ident() == questions.main_thread
        and questions.cell_task is not None
        and _current_task(loop) is questions.cell_task
    ):
        return None
    return loop


def _set_running_loop_of_cells(loop: Any) -> None:
    ours = questions.loop
    if ours is not None and loop is not ours:
        if loop is None:
            if ours.running_thread == get_ident():  # the session's loop was hidden
                loop = ours
        elif questions.plain_cells_loop is not None:
            ours.move_to_thread()
    _set_running(loop)


def _set_event_loop_of_cells(loop: Any) -> None:
    if loop is None and questions.loop is not None and get_ident() == questions.main_thread:
        loop = questions.loop  # asyncio.run removes its own loop
    _set_current(loop)


def _current_task_of_cells(loop: Any = None) -> Any:
    if loop is None and _running() is None and questions.plain_cells_loop is not None:
        return None
    return _current_task(loop)


# --- whether a call only asks ---------------------------------------------------------------------------------------

_asking_ranges: Final[dict[CodeType, list[tuple[int, int]]]] = {}


def _only_asks(frame: FrameType) -> bool:
    """Return whether code of a module is about to catch the RuntimeError that means that no loop runs."""
    code = frame.f_code
    if code.co_filename.startswith(_OWN_CODE):
        return False
    ranges = _asking_ranges.get(code)
    if ranges is None:
        ranges = _asking_ranges[code] = list(_ranges_that_catch(code, "RuntimeError"))
    return any(start <= frame.f_lasti < end for start, end in ranges)


def _ranges_that_catch(code: CodeType, name: str) -> Iterator[tuple[int, int]]:
    instructions = list(dis.get_instructions(code))
    places = {each.offset: number for number, each in enumerate(instructions)}
    for entry in _exception_table(code):
        # Entries that keep the last instruction are generated by the compiler, for cleaning up and raising again.
        if not entry.lasti and name in _caught_at(instructions, places, entry.target):
            yield entry.start, entry.end


def _caught_at(instructions: list[dis.Instruction], places: dict[int, int], target: int) -> set[str]:
    """Return the exception names that a handler's `except` clauses test for; none for a `finally`."""
    caught: set[str] = set()
    place = places.get(target)
    while place is not None:
        names: set[str] = set()
        following = None
        for number in range(place, min(place + _MOST_INSTRUCTIONS, len(instructions) - 1)):
            each = instructions[number]
            if each.opname.startswith("LOAD_"):
                names.add(str(each.argval))
            elif each.opname == "CHECK_EXC_MATCH":
                caught |= names
                following = instructions[number + 1]
                break
        place = None
        if following is not None and "JUMP" in following.opname:
            place = places.get(following.argval)
    return caught
