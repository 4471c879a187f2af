"""jupyter_server: a kernel reached by HTTP, and by the WebSocket that notebooks in a browser use."""

import asyncio
import json
import secrets
import socket
import sys
import time
import uuid
from typing import Any

from serving import serve
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

READY_SECONDS = 60.0
PAUSE_SECONDS = 0.1
TOKEN = secrets.token_hex(16)


class Server:
    """One server with one kernel."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self._process: asyncio.subprocess.Process | None = None
        self._channels: WebSocketClientConnection | None = None
        self._session = uuid.uuid4().hex

    async def start(self) -> "Server":
        """Start the server, and a kernel in it. Raises TimeoutError."""
        host, _, port = self._address.partition(":")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--ServerApp.ip={host}",
            f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(READY_SECONDS):
            kernel = await self._make_kernel()
            self._channels = await websocket_connect(
                f"ws://{self._address}/api/kernels/{kernel}/channels?session_id={self._session}&token={TOKEN}"
            )
            await self.run("1+1")
        return self

    async def stop(self) -> None:
        """End it."""
        if self._channels is not None:
            self._channels.close()
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()

    async def _make_kernel(self) -> str:
        request = HTTPRequest(
            f"http://{self._address}/api/kernels", "POST", {"Authorization": f"token {TOKEN}"}, b'{"name": "python3"}'
        )
        while True:
            try:
                answer = await AsyncHTTPClient().fetch(request)
            except OSError:
                await asyncio.sleep(PAUSE_SECONDS)  # it does not listen yet
                continue
            made: str = json.loads(answer.body)["id"]
            return made

    async def run(self, code: str) -> float:
        """Run a cell; return the milliseconds until its reply and idle are there. Raises RuntimeError."""
        assert self._channels is not None
        number = uuid.uuid4().hex
        header = {"msg_id": number, "msg_type": "execute_request", "session": self._session, "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message: dict[str, Any] = {
            "header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell",
        }  # fmt: skip
        started = time.perf_counter()
        await self._channels.write_message(json.dumps(message))
        status, is_idle = "", False
        while not (status and is_idle):
            text = await self._channels.read_message()
            if text is None:
                raise RuntimeError("the server has closed the connection")
            answer = json.loads(text)
            if answer["parent_header"].get("msg_id") != number:
                continue
            if answer["header"]["msg_type"] == "execute_reply":
                status = answer["content"]["status"]
            elif answer["header"]["msg_type"] == "status":
                is_idle = answer["content"]["execution_state"] == "idle"
        taken = (time.perf_counter() - started) * 1000
        if status != "ok":
            raise RuntimeError(f"its cell {code[:100]!r} ended with {status!r}")
        return taken


_servers: list[Server] = []


async def warm(rounds: int, code: str = "1+1") -> list[float]:
    """Return the milliseconds of each such cell."""
    if not _servers:
        _servers.append(await Server().start())
    return [await _servers[0].run(code) for _ in range(rounds)]


async def close() -> None:
    """Stop the server."""
    for server in _servers:
        await server.stop()


if __name__ == "__main__":
    serve({"warm": warm, "close": close})
