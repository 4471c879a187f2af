"""A service that hands on sessions' events as server-sent events: python event_service.py REDIS_URL SOCKET."""

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header
from fastapi.responses import StreamingResponse

import skep

READY = "the service is ready"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for all requests."""
    async with skep.connect(sys.argv[1]) as cluster:
        app.state.cluster = cluster
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def ready() -> str:
    """Answer."""
    return READY


@app.get("/sessions/{session_id}/events")
async def events(session_id: str, last_event_id: Annotated[str, Header()] = "0-0") -> StreamingResponse:
    """Stream the session's events from the one after `Last-Event-ID` on."""

    async def lines() -> AsyncIterator[str]:
        async with aclosing(app.state.cluster.session(session_id).events(after=last_event_id, follow=True)) as stream:
            async for event in stream:
                yield f"id: {event.id}\ndata: {event.model_dump_json()}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, uds=sys.argv[2], log_level="warning", timeout_graceful_shutdown=1)
