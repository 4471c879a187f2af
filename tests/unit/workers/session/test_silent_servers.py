"""A server that listens on nothing is refused, whichever way its loop reports that it could make no socket."""

import pytest

from skep_workers.session.runtime.silent_servers import refuse_servers_without_sockets

pytestmark = pytest.mark.anyio


class Server:
    def __init__(self, sockets):
        self.sockets = sockets
        self.is_closed = False

    def close(self):
        self.is_closed = True


def loop_that(result):
    """Return a loop whose `create_server` returns this server, or raises this error."""

    class Loop:
        async def create_server(self, *arguments, **options):
            self.called_with = arguments, options
            if isinstance(result, Exception):
                raise result
            return result

    refuse_servers_without_sockets(Loop)
    return Loop()


async def test_a_server_with_a_socket_is_returned():
    server = Server(["a socket"])
    loop = loop_that(server)

    assert await loop.create_server("protocol", port=1) is server
    assert (loop.called_with, server.is_closed) == ((("protocol",), {"port": 1}), False)


async def test_a_server_without_sockets_is_closed_and_refused():
    server = Server([])

    with pytest.raises(PermissionError, match="no socket could be made to listen on"):
        await loop_that(server).create_server()
    assert server.is_closed


async def test_an_error_without_a_number_is_given_its_reason():
    with pytest.raises(PermissionError, match="no socket could be made to listen on"):
        await loop_that(OSError("could not bind on any address")).create_server()


async def test_any_other_error_is_not_changed():
    error = OSError(98, "Address already in use")

    with pytest.raises(OSError, match="Address already in use") as raised:
        await loop_that(error).create_server()
    assert raised.value is error
