"""Servers in sessions whose network permits no sockets to listen on.

uvloop, and asyncio before Python 3.13, take a socket that can't be made for one of a protocol that the machine lacks,
and go on without it. So `asyncio.start_server` succeeded in such a session, and `uvicorn.run` announced its address,
while nothing listened there. From Python 3.13 on asyncio raises an OSError without a number, which says no reason.
"""

import errno
import functools
from typing import Any


def refuse_servers_without_sockets(loop: Any) -> None:
    """Make `create_server` of this class of event loops raise PermissionError where it could make no socket at all."""
    create = loop.create_server

    @functools.wraps(create)
    async def create_server(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            server = await create(self, *arguments, **options)
        except OSError as exc:
            if exc.errno is not None:
                raise
        else:
            if server.sockets:
                return server
            server.close()
        raise PermissionError(errno.EACCES, "no socket could be made to listen on")

    loop.create_server = create_server
