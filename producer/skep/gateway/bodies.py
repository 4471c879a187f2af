"""What requests carry. Unknown fields and wrong types are refused; the limits of values are those of the client."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from skep.deferral import MAX_DEFER_SECONDS
from skep_shared.limits import MAX_ATTEMPTS, MAX_TIMEOUT_SECONDS
from skep_shared.models import SessionOptions


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CellBody(_Body):
    """A cell to run."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"code": "import math\nmath.sqrt(x)", "cell_id": "job-7", "inputs": {"x": 1764}, "timeout": 30}
            ]
        }
    )

    code: str = Field(description="Python source, at most 1 MiB of UTF-8")
    cell_id: str | None = Field(
        default=None, min_length=1, max_length=200,
        description="idempotency key: the same id again is the same cell; generated if it is missing",
    )  # fmt: skip
    timeout: Annotated[float, Field(ge=0.001, le=MAX_TIMEOUT_SECONDS)] | None = Field(
        default=None, description="seconds that the code may run"
    )
    inputs: dict[str, Any] | None = Field(
        default=None, description="names to bind before the cell runs, with plain data"
    )
    labels: dict[str, str] | None = Field(
        default=None, description="notes of the caller; the cell's first event has them"
    )
    on_worker_loss: Literal["retry", "fail"] = Field(
        default="retry", description="when its worker dies: run again on another one, or end as lost"
    )
    max_attempts: int = Field(default=3, ge=1, le=MAX_ATTEMPTS)
    defer_by: Annotated[float, Field(ge=0, le=MAX_DEFER_SECONDS)] | None = Field(
        default=None, description="seconds after which the cell is appended to its session; not in a batch"
    )
    options: SessionOptions | None = Field(
        default=None, description="options of the session, if this cell creates it; in a batch only of its first cell"
    )


class AnswerBody(_Body):
    """The answer to a cell's input()."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "yes"}]})

    text: str | None = Field(description="a line without its end; null is end of file")


class CompleteBody(_Body):
    """Code to complete."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "import mat", "cursor": 10}]})

    code: str
    cursor: int | None = Field(default=None, ge=0, description="in characters; the end if it is missing")


class InspectBody(_Body):
    """A name to describe."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "math.sqrt"}]})

    name: str = Field(description="a dotted name")


class InterruptBody(_Body):
    """What to interrupt."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"cell_id": "job-7"}]})

    cell_id: str | None = Field(default=None, description="this cell instead of the one that runs", max_length=200)


class RollbackBody(_Body):
    """Where to go back to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"checkpoint": "17-0"}]})

    checkpoint: str = Field(description="the id of a checkpoint, or its name")


class ForkBody(_Body):
    """The session, or sessions, to make from a checkpoint of this one; all or none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"new_id": "user-42-b", "at": "17-0"}]})

    new_id: str | list[str] = Field(description="an id, or up to 1,000")
    at: str | None = Field(default=None, description="the id of a checkpoint, or its name; the latest if it is missing")
    sandbox: str | None = Field(default=None, description="the weakest sandbox that it may have, if not the same")


class ReplayBody(_Body):
    """The events to send again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"session_id": "user-42", "after": "0-0"}]})

    session_id: str
    after: str = Field(description="the id of the event after which to begin; 0-0 is before the first")


class LinkBody(_Body):
    """A link to a file."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"seconds": 3600}]})

    seconds: Annotated[float, Field(ge=1, le=7 * 86_400)] = Field(default=3600, description="how long it works")
    method: Literal["GET", "PUT"] = Field(default="GET", description="what it permits: to read or to write the file")
