"""What a cell of a MemoryCluster is answered with."""

import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from skep.outcome import CellFault, Outcome
from skep_shared.errors import InvalidArgument
from skep_shared.events import BaseEvent, DisplayEvent, ErrorEvent, OutputEvent, ResultEvent, WarningEvent
from skep_shared.json_form import whole_text, without_surrogates
from skep_shared.states import CellStatus
from skep_shared.values import ValueEncodingError, encode_value

AnswerFunction = Callable[[str, dict[str, Any]], object | Awaitable[object]]
CATEGORY: Final = "memory"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a cell ends; the fields are those of an Outcome.

    value: of the last expression; None: there is none. stderr: written after `text`. error: the exception that ended
    the cell. status: by default "failed" with an error, otherwise "finished". result: the MIME bundle of the value, by
    default its repr. Raises InvalidArgument for a status that does not exist, or that doesn't fit the error.
    """

    value: object = None
    text: str = ""
    stderr: str = ""
    display: tuple[dict[str, Any], ...] = ()
    error: BaseException | CellFault | None = None
    status: CellStatus | str | None = None
    warnings: tuple[str, ...] = ()
    result: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.status is not None and self.status not in set(CellStatus):
            raise InvalidArgument("status", self.status, f"one of {', '.join(CellStatus)} is needed")
        if self.error is not None and self.end is CellStatus.FINISHED:
            raise InvalidArgument("status", self.status, "a cell that finished has no error")

    @property
    def end(self) -> CellStatus:
        """The status that the cell ends with."""
        if self.status is not None:
            return CellStatus(self.status)
        return CellStatus.FINISHED if self.error is None else CellStatus.FAILED

    @classmethod
    def of(cls, returned: object) -> "Answer":
        """Return the answer for what the user's function has returned."""
        if isinstance(returned, Answer):
            return returned
        if isinstance(returned, BaseException):
            return cls(error=returned)
        if isinstance(returned, Outcome):
            return cls(
                value=None if returned.value_is_repr else returned.value,
                text=returned.text,
                display=returned.display,
                error=returned.error,
                status=returned.status,
                warnings=returned.warnings,
                result=returned.result,
            )
        return cls(value=returned)

    def events(self) -> Iterator[tuple[type[BaseEvent], dict[str, Any]]]:
        """Yield the class and the fields of each event that the cell reports between its start and its end."""
        for stream, text in (("stdout", self.text), ("stderr", self.stderr)):
            if text:
                yield OutputEvent, {"stream": stream, "text": without_surrogates(text)}
        for bundle in self.display:
            yield DisplayEvent, {"bundle": whole_text(bundle)}
        for message in self.warnings:
            yield WarningEvent, {"category": CATEGORY, "message": without_surrogates(message)}
        if self.value is not None or self.result is not None:
            yield ResultEvent, self._result_fields()
        if self.error is not None:
            yield ErrorEvent, fault_fields(self.error)

    def _result_fields(self) -> dict[str, Any]:
        bundle = {"text/plain": repr(self.value)} if self.result is None else self.result
        try:
            data = None if self.value is None else encode_value(self.value)
        except ValueEncodingError:
            data = None  # as in a real session, the value is then its repr
        return {"bundle": whole_text(dict(bundle)), "data": data}


def fault_fields(error: BaseException | CellFault) -> dict[str, str]:
    """Return the fields of the event that reports an exception. Frames of skep are not in its traceback."""
    if isinstance(error, CellFault):
        fields: Mapping[str, str] = {"ename": error.ename, "evalue": error.evalue, "traceback": error.traceback}
    else:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(f"{__package__}."):
            trace = trace.tb_next
        lines = traceback.format_exception(type(error), error, trace)
        fields = {"ename": type(error).__name__, "evalue": str(error), "traceback": "".join(lines)}
    return {name: without_surrogates(text) for name, text in fields.items()}
