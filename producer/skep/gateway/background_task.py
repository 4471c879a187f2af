"""A part of the gateway that works in a task of its own, from the beginning of its `async with` block to the end."""

import asyncio
import logging
from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Final, Self

from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.foreign_errors import describe_error

_log: Final = logging.getLogger(__name__)


class BackgroundTask(ABC):
    """Runs `_run`, which ends only by being cancelled. Any other end is a defect, and is logged."""

    task_name: ClassVar[str]
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start."""
        self._task = asyncio.create_task(self._run_and_report(), name=self.task_name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        if self._task is not None:
            await cancel_until_ended([self._task])

    @abstractmethod
    async def _run(self) -> None: ...

    async def _run_and_report(self) -> None:
        try:
            await self._run()
        except Exception as exc:  # noqa: BLE001 - the gateway serves on without this part, and the log says so
            _log.error("%s: this process does it no more: %s", self.task_name, describe_error(exc))
