"""Events as people and as programs read them."""

import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from rich.text import Text

from skep.cli.output.screen import Screen
from skep_shared.events import (
    CellFinished,
    CellQueued,
    CellRetried,
    CellStarted,
    CheckpointPartial,
    EndedWorkFields,
    ErrorEvent,
    Event,
    InputAnswered,
    InputRequested,
    OutputEvent,
    OutputTruncated,
    ResetEvent,
    ResultEvent,
    SessionClosedEvent,
    SessionHibernated,
    SessionMoved,
    SessionRestored,
    SessionRolledBack,
    SessionStarted,
    TrimmedEvent,
    WarningEvent,
)
from skep_shared.states import CellStatus
from skep_shared.values import decode_value

Printer = Callable[[Event], None]


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    print(json.dumps(record, separators=(",", ":")), flush=True)


def as_record(model: BaseModel) -> dict[str, Any]:
    """Return a model's fields as JSON has them; times are ISO 8601."""
    return model.model_dump(mode="json", exclude={"data", "value", "value_is_repr"})


def print_event_json(event: Event) -> None:
    """Print an event as JSON; a result has its `value` where JSON can hold it."""
    record = as_record(event)
    if isinstance(event, ResultEvent) and event.data is not None:
        try:
            value = decode_value(event.data)
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            pass  # bytes, NaN and the like: the text/plain representation has to do
        else:
            record["value"] = value
    print_json(record)


class LivePrinter:
    """Prints one cell's output, as a terminal of its own would show it."""

    def __init__(self, screen: Screen, shown: Callable[[str], str] | None = None) -> None:
        """`shown` adapts tracebacks and warnings, see FileLines."""
        self._screen = screen
        self._shown = shown or str

    def __call__(self, event: Event) -> None:
        """Print the event, if it has anything to print."""
        screen = self._screen
        match event:
            case OutputEvent():
                screen.write(event.stream, self._shown(event.text))
            case ErrorEvent():
                screen.traceback(self._shown(event.traceback))
            case WarningEvent():
                screen.note(f"warning: {event.message}", "yellow")
            case OutputTruncated():
                screen.note(f"warning: output was cut at {event.limit_bytes} bytes", "yellow")
            case InputRequested():
                screen.write("stdout", event.prompt)
            case CellFinished() if event.unsaved:
                screen.note(f"warning: no checkpoint could be made: {event.unsaved}", "yellow")
            case CheckpointPartial():
                screen.note(f"warning: not saved with the session: {_named(event.lost)}", "yellow")
            case CellRetried():
                screen.note(f"attempt {event.attempt}: {event.reason}; what it said before counts no more", "yellow")
            case _:
                text = getattr(event, "bundle", {}).get("text/plain")
                if text is not None:
                    screen.line("result", str(text))


class RecordPrinter(LivePrinter):
    """Prints a whole session: its own events, and each cell under a heading with its code."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        self._cell_id: str | None = None

    def __call__(self, event: Event) -> None:
        """Print the event, under a heading when the cell has changed."""
        screen = self._screen
        match event:
            case SessionStarted():
                screen.note(f"· session started on {event.worker_id}, Python {event.python}")
            case SessionRestored():
                screen.note(f"· session restored on {event.worker_id} from checkpoint {event.checkpoint}")
                if event.lost:
                    screen.note(f"  not brought back: {_named(event.lost)}", "yellow")
            case SessionHibernated():
                screen.note(f"· session hibernated: {event.reason}")
                self._print_end(event)
            case SessionRolledBack():
                screen.note(f"· session rolled back to checkpoint {event.checkpoint}", "yellow")
                self._print_end(event)
            case SessionMoved():
                screen.note(f"· session moved to {event.worker_id}: {event.reason}", "yellow")
            case SessionClosedEvent():
                screen.note("· session closed")
                self._print_end(event)
            case TrimmedEvent():
                screen.note(f"· events before {event.floor} are no longer kept", "yellow")
            case ResetEvent():
                screen.note(f"· Redis went back: what was shown after {event.last} is void", "yellow")
            case CellQueued():
                self._cell_id = event.cell_id
                screen.print(with_label(f"[{event.seq}] ", screen.code(event.code)))
            case CellFinished():
                if event.status is not CellStatus.FINISHED:
                    word = event.status.replace("_", " ")
                    screen.note(f"· cell {event.seq} {word} after {duration(event.run_ms)}")
                super().__call__(event)
            case CellStarted():
                pass
            case InputAnswered():
                screen.write("answer", "…\n" if event.text is None else f"{event.text}\n")
            case _:
                if event.cell_id != self._cell_id and event.seq is not None:
                    self._cell_id = event.cell_id
                    screen.print(Text(f"[{event.seq}] …", "bold cyan"))
                super().__call__(event)

    def _print_end(self, event: EndedWorkFields) -> None:
        ended = [*event.tasks, *event.threads, *event.children, *event.connections]
        if ended:
            self._screen.note(f"  ended with its process: {'; '.join(ended)}")
        for note in event.notes:
            self._screen.note(f"  {note}", "yellow")


def with_label(label: str, code: Text) -> Text:
    """Return code with a label before its first line and the others aligned with it."""
    lines = code.split("\n", allow_blank=True)
    labels = [(label, "bold cyan"), *[(" " * len(label), "")] * (len(lines) - 1)]
    return Text("\n").join(Text.assemble(label, line) for label, line in zip(labels, lines, strict=True))


def _named(lost: dict[str, str]) -> str:
    return "; ".join(f"{name} ({reason})" for name, reason in lost.items())


def duration(milliseconds: float) -> str:
    """Return a time span in the unit that suits it."""
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 120_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds / 60_000:.0f} min"
