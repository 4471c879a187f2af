"""`%time` and `%timeit`, for a line or for a cell."""

from contextlib import AbstractContextManager, nullcontext
from sys import _getframe as frame_at
from timeit import Timer
from types import FrameType
from typing import Any, Final

from skep_shared.originals import time
from skep_workers.session.errors.compiler_warnings import without_repeated_warnings, without_warnings
from skep_workers.session.runtime.namespace import NamespaceManager

TIMEIT_SECONDS: Final = 0.2
TIMEIT_REPEATS: Final = 7
TIMEIT_DIGITS: Final = 3
_TIMEITS_NAME: Final = "<timeit-src>"  # the file name that the module timeit compiles under


class TimeitResult:
    """The result of `%timeit -o`, in seconds: `all_runs` for each run of `loops` loops, `timings` for one loop each."""

    def __init__(self, loops: int, all_runs: list[float], digits: int = TIMEIT_DIGITS) -> None:
        self.loops = loops
        self.repeat = len(all_runs)
        self.all_runs = all_runs
        self.timings = [taken / loops for taken in all_runs]
        self.best, self.worst = min(self.timings), max(self.timings)
        self.average = sum(self.timings) / self.repeat
        self.stdev = (sum((taken - self.average) ** 2 for taken in self.timings) / self.repeat) ** 0.5
        self.digits = digits

    def __str__(self) -> str:
        many = "s" if self.repeat > 1 else ""
        return (
            f"{_duration(self.average, self.digits)} ± {_duration(self.stdev, self.digits)} per loop "
            f"(mean ± std. dev. of {self.repeat} run{many}, {self.loops:,} loop{'s' if self.loops > 1 else ''} each)"
        )

    def __repr__(self) -> str:
        return f"<TimeitResult : {self}>"


class TimingMagics:
    """Times code of cells."""

    def __init__(self, namespace: NamespaceManager) -> None:
        self._namespace = namespace
        self._timers: list[tuple[float, float]] = []

    def start_timer(self) -> None:
        """Start a timer."""
        self._timers.append((time.perf_counter(), time.process_time()))

    def stop_timer(self, _started: None = None, value: Any = None) -> Any:
        """Stop the latest timer, print its times, and return the value."""
        wall, cpu = self._timers.pop()
        print(f"CPU times: total: {_duration(time.process_time() - cpu)}")
        print(f"Wall time: {_duration(time.perf_counter() - wall)}")
        return value

    def discard_timers(self) -> None:
        """Remove timers that an exception has left running."""
        self._timers.clear()

    def timeit(self, statement: str, **options: int) -> TimeitResult | None:
        """Time a statement repeatedly; for the options see `%timeit?`."""
        frame = frame_at(1)
        with _warnings_shown_once(statement, frame, frame.f_lineno - 1):
            timer = self._timer(statement, "pass", frame, options)
        return self._timeit(timer, options)

    def timeit_cell(self, setup: str, body: str, **options: int) -> TimeitResult | None:
        """Time a cell's body repeatedly; its first line is the set-up."""
        frame = frame_at(1)
        with _warnings_shown_once(body, frame, frame.f_lineno):
            timer = self._timer(body, setup or "pass", frame, options)
        return self._timeit(timer, options)

    def _timer(self, statement: str, setup: str, frame: FrameType, options: dict[str, int]) -> Timer:
        names = self._namespace.names
        if frame.f_locals is not frame.f_globals:
            names = {**frame.f_globals, **frame.f_locals}
        clock = time.process_time if options.get("c") else time.perf_counter
        return Timer(statement, setup, clock, globals=names)

    def _timeit(self, timer: Timer, options: dict[str, int]) -> TimeitResult | None:
        """Run the timer r times with n loops each; the options t and v request the default behaviour."""
        number = options.get("n") or self._enough_loops(timer)
        result = TimeitResult(
            number, timer.repeat(options.get("r", TIMEIT_REPEATS), number), options.get("p", TIMEIT_DIGITS)
        )
        if not options.get("q"):
            print(result)
        return result if options.get("o") else None

    def _enough_loops(self, timer: Timer) -> int:
        number, taken = 1, timer.timeit(1)
        while taken < TIMEIT_SECONDS and number < 10**8:
            number *= 10 if taken < TIMEIT_SECONDS / 10 else 2
            taken = timer.timeit(number)
        return number


def _warnings_shown_once(source: str, frame: FrameType, lines_above: int) -> AbstractContextManager[None]:
    """Show the compiler's warnings about a part of a cell; return a context in which they are not shown again.

    A timer compiles its statement twice. It also reports errors in the source, and warnings that are to be errors.
    """
    name = frame.f_code.co_filename
    try:
        with without_repeated_warnings(name):
            compile("\n" * lines_above + source, name, "exec", dont_inherit=True)
    except SyntaxError:
        return nullcontext()
    return without_warnings(_TIMEITS_NAME)


def _duration(seconds: float, digits: int = TIMEIT_DIGITS) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("μs", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.{digits}g} {unit}"
    return f"{seconds / 1e-9:.{digits}g} ns"
