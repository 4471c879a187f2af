"""The answering end of tests/bench/children.py. Standard library only: it runs under the peers' interpreters."""

import asyncio
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


def serve(handlers: dict[str, Callable[..., Any]]) -> None:
    """Answer questions until stdin ends; `close` is asked last, if there is one."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            what, arguments = json.loads(line)
            try:
                answer = {"answer": None if what == "ready" else _call(runner, handlers[what], arguments)}
            except Exception as exc:  # noqa: BLE001 - whatever a peer raises is for the table
                traceback.print_exc()
                answer = {"error": repr(exc)[:300]}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
        if "close" in handlers:
            _call(runner, handlers["close"], {})


def _call(runner: asyncio.Runner, handler: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    given = handler(**arguments)
    return runner.run(given) if inspect.iscoroutine(given) else given
