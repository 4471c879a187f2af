"""Listings: sessions, one session, its transcript, workers, usage, and all of it at a glance."""

import re
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import Response

from skep.gateway.answers import (
    SessionAnswer,
    SessionsAnswer,
    SummaryAnswer,
    TranscriptAnswer,
    UsageAnswer,
    WorkersAnswer,
    json_response,
    record_json,
    session_json,
)
from skep.gateway.routes.documentation import Reader, SessionId, problems, session_of
from skep.listings.session_listing import SessionFilter, find_page
from skep.tenants import Tenant, list_tenants, read_tenant
from skep_shared.broker.listing_scripts import OLDEST
from skep_shared.errors import InvalidArgument, NotFound
from skep_shared.isolation.tenants import TenantQuotas, TenantUse
from skep_shared.json_form import json_form
from skep_shared.states import SessionState

router = APIRouter(prefix="/v1", tags=["listings"])

NOTEBOOK: Final = "application/x-ipynb+json"

_PLACE: Final = re.compile(r"[0-9]{1,17}([.][0-9]{1,6})?")


@router.get(
    "/sessions",
    operation_id="getSessions",
    summary="Sessions, filtered, page by page",
    response_model=SessionsAnswer,
    responses=problems(),
)
async def get_sessions(
    caller: Reader,
    label: Annotated[
        list[str] | None, Query(description="only sessions with this label, NAME:TEXT; with all of several")
    ] = None,
    state: Annotated[SessionState | None, Query(description="only sessions in this state")] = None,
    prefix: Annotated[
        str | None, Query(max_length=200, description="only sessions whose id begins so", examples=["user-"])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="about how many sessions a page has at most")] = 100,
    after: Annotated[str | None, Query(max_length=40, description="`next` of the page before")] = None,
) -> Response:
    """Return the tenant's sessions, oldest first. A page may have fewer than `limit` though another one follows.

    For a token of the whole shard, sessions of tenants are among them, as TENANT/ID; to reach these needs a token of
    that tenant.
    """
    if after is not None and not _PLACE.fullmatch(after):
        raise InvalidArgument("after", after, "the `next` of the page before is needed")
    labels = dict(_label(text) for text in label or ())
    wanted = SessionFilter.checked(labels, state, prefix or None, has_tenant=caller.access.tenant is not None)
    found, following = await find_page(caller.tenant.link, wanted, after or OLDEST, limit)
    return json_response({"sessions": [session_json(info) for info in found], "next": following or None})


def _label(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise InvalidArgument("label", text, "NAME:TEXT is needed")
    return name, value


@router.get(
    "/sessions/{session_id}",
    operation_id="getSession",
    summary="A session's state, owner, progress and limits",
    response_model=SessionAnswer,
    responses=problems(404),
)
async def get_session(session_id: SessionId, caller: Reader) -> Response:
    """Return what is known about a session."""
    return json_response(session_json(await session_of(caller, session_id).info()))


@router.get(
    "/sessions/{session_id}/transcript",
    operation_id="getTranscript",
    summary="One record for each cell",
    response_model=TranscriptAnswer,
    responses=problems(404),
)
async def get_transcript(session_id: SessionId, caller: Reader) -> Response:
    """Return the session's cells, in order: code, output without void attempts, outcome."""
    session = session_of(caller, session_id)
    await session.info()  # raises NotFound
    return json_response({"cells": [record_json(fold) for fold in await session.transcript()]})


@router.get(
    "/sessions/{session_id}/notebook.ipynb",
    operation_id="getNotebook",
    summary="The session as a Jupyter notebook",
    response_class=Response,
    responses={
        200: {"description": "A notebook, nbformat 4.5.", "content": {NOTEBOOK: {"schema": {"type": "object"}}}},
        **problems(404),
    },
)
async def get_notebook(session_id: SessionId, caller: Reader) -> Response:
    """Return the session's record as a notebook: its cells with their outputs as Jupyter would save them."""
    document = await session_of(caller, session_id).notebook()
    response = json_response(json_form(document))
    response.headers["Content-Type"] = NOTEBOOK
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(session_id, safe='')}.ipynb"
    return response


@router.get(
    "/workers",
    operation_id="getWorkers",
    summary="The live workers",
    response_model=WorkersAnswer,
    responses=problems(),
)
async def get_workers(caller: Reader) -> Response:
    """Return every live worker of the shard, the oldest heartbeat first."""
    found = [worker.model_dump(mode="json") async for worker in caller.tenant.cluster.workers()]
    return json_response({"workers": found})


@router.get(
    "/summary",
    operation_id="getSummary",
    summary="The cluster at a glance: counts of sessions, cells and workers, and Redis's memory",
    response_model=SummaryAnswer,
    responses=problems(),
)
async def get_summary(caller: Reader) -> Response:
    """Return counts, some seconds old at most: of the token's tenant, or of everything for a token of the shard."""
    return json_response(await caller.gateway.summaries.of(caller.tenant))


@router.get(
    "/usage",
    operation_id="getUsage",
    summary="What tenants use, and their quotas",
    response_model=UsageAnswer,
    responses=problems(),
)
async def get_usage(caller: Reader) -> Response:
    """Return the token's tenant; for a token of the whole shard, every tenant that has quotas."""
    tenant, link = caller.access.tenant, caller.tenant.link
    if tenant is None:
        found = await list_tenants(link)
    else:
        try:
            found = [await read_tenant(link, tenant)]
        except NotFound:  # it has neither quotas nor sessions
            nothing = TenantUse(sessions=0, resident=0, pending=0, stored_bytes=0, cpu_seconds=0.0)
            found = [Tenant(tenant, TenantQuotas(), nothing)]
    shown = [
        {"tenant": each.id, "quotas": each.quotas.model_dump(), "use": each.use.model_dump(mode="json")}
        for each in found
    ]
    return json_response({"tenants": shown})
