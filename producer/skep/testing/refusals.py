"""What a MemoryCluster does not have, and how it says so."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn, TypeVar

from skep_shared.broker.keys import Keys
from skep_shared.errors import SkepError
from skep_shared.settings import Settings

C = TypeVar("C", bound=type)


class NotInMemory(SkepError, NotImplementedError):
    """A MemoryCluster does not have `what`, because it has neither Redis nor processes."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        """Return what is missing, and what to use instead."""
        return (
            f"a MemoryCluster has no {self.what}: it has neither Redis nor processes. "
            "Use the fixture skep_cluster for a real cluster, or skep.testing.cluster()"
        )


class NoLink:
    """A substitute for the link to Redis in classes of the client; whatever needs the link raises NotInMemory."""

    signer = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.prefix)

    def __getattr__(self, name: str) -> NoReturn:
        """Raise NotInMemory."""
        raise NotInMemory(f"connection to Redis ({name})")


def refuses_the_rest_of(base: type, *, inherited: frozenset[str]) -> Callable[[C], C]:
    """Replace the public methods of `base` that a class neither defines nor inherits as they are; they refuse."""

    def decorate(refusing: C) -> C:
        for name, method in inspect.getmembers(base, inspect.isfunction):
            if not name.startswith("_") and name not in vars(refusing) and name not in inherited:
                setattr(refusing, name, _refusing(f"{base.__name__}.{name}", method))
        return refusing

    return decorate


def _refusing(what: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of the same signature and kind that raises NotInMemory."""

    @functools.wraps(method)
    async def refused(*_: Any, **__: Any) -> NoReturn:
        raise NotInMemory(what)

    @functools.wraps(method)
    async def refused_iterator(*_: Any, **__: Any) -> AsyncIterator[NoReturn]:
        raise NotInMemory(what)
        yield  # an asynchronous generator, like the method

    return refused_iterator if inspect.isasyncgenfunction(method) else refused
