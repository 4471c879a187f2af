"""What the gateway answers, as the objects and the errors of `import skep`."""

import inspect
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import httpx
from pydantic import TypeAdapter

import skep
from skep_shared import errors

EVENT: Final = TypeAdapter[Any](skep.Event)
OUTCOME: Final = TypeAdapter(skep.Outcome)


@dataclass(frozen=True)
class Record:
    """A cell of a transcript."""

    code: str
    text: str
    outcome_answer: dict[str, Any]

    def outcome(self) -> skep.Outcome:
        """Return the cell's outcome."""
        return OUTCOME.validate_python(self.outcome_answer)


def checked(response: httpx.Response) -> httpx.Response:
    """Return a response that is no problem document. Otherwise raise the error that the document is."""
    if response.is_error:
        raise_problem(response.json())
    return response


def answer_of(response: httpx.Response) -> Any:
    """Return what a response carries; None if that is nothing. Raise as `checked` does."""
    content = checked(response).content
    return response.json() if content else None


def raise_problem(document: dict[str, Any]) -> NoReturn:
    """Raise the error of skep that a problem document is, with its fields. Fail for any other document."""
    kind, _, name = document["type"].rpartition(":")
    found = getattr(errors, name, None)
    assert kind == "urn:skep", document
    assert isinstance(found, type), document
    assert issubclass(found, skep.SkepError), document
    fields = list(inspect.signature(found.__init__).parameters)[1:]
    assert document.keys() >= set(fields), f"{document} has not all fields of {found}: {fields}"
    raise found(*(document[field] for field in fields))
