"""Time travel and the end: checkpoints, rollback, fork, hibernate, close."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import Response

from skep.gateway.answers import CheckpointsAnswer, ForkedAnswer, checkpoint_json, json_response
from skep.gateway.bodies import ForkBody, RollbackBody
from skep.gateway.routes.documentation import Admin, Reader, Responses, Runner, SessionId, problems, session_of

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["sessions"])

_DONE: Responses = {204: {"description": "Done."}}


@router.get(
    "/checkpoints",
    operation_id="getCheckpoints",
    summary="The session's stored checkpoints",
    response_model=CheckpointsAnswer,
    responses=problems(404, 409),
)
async def checkpoints(session_id: SessionId, caller: Reader) -> Response:
    """Return the stored checkpoints, oldest first."""
    session = session_of(caller, session_id)
    await session.info()  # raises NotFound
    found = [checkpoint_json(checkpoint) async for checkpoint in session.checkpoints()]
    return json_response({"checkpoints": found})


@router.post(
    "/rollback",
    operation_id="rollback",
    summary="Go back to an earlier checkpoint",
    status_code=204,
    response_class=Response,
    responses={**_DONE, **problems(400, 404, 409, 504)},
)
async def rollback(session_id: SessionId, body: RollbackBody, caller: Runner) -> Response:
    """Make an earlier checkpoint the session's state; no cell may be running or pending."""
    await session_of(caller, session_id).rollback(body.checkpoint)
    return Response(status_code=204)


@router.post(
    "/fork",
    operation_id="fork",
    summary="Make sessions from a checkpoint",
    status_code=201,
    response_model=ForkedAnswer,
    responses={
        201: {
            "description": "Made.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "the first new session's URL"}},
        },
        **problems(400, 404, 409, 410),
    },
)
async def fork(session_id: SessionId, body: ForkBody, caller: Runner) -> Response:
    """Make sessions from a checkpoint of this one, all or none. From then on they are independent."""
    ids = [body.new_id] if isinstance(body.new_id, str) else body.new_id
    await session_of(caller, session_id).fork_many(ids, body.at, sandbox=body.sandbox)
    return json_response({"ids": ids}, 201, {"Location": f"/v1/sessions/{quote(ids[0], safe='')}"})


@router.post(
    "/hibernate",
    operation_id="hibernate",
    summary="End the session's process now",
    status_code=204,
    response_class=Response,
    responses={**_DONE, **problems(404, 409, 504)},
)
async def hibernate(session_id: SessionId, caller: Runner) -> Response:
    """End the session's process; its next cell restores it. No cell may be running or pending."""
    await session_of(caller, session_id).hibernate()
    return Response(status_code=204)


@router.delete(
    "",
    operation_id="closeSession",
    summary="End a session, and on request delete its data",
    status_code=204,
    response_class=Response,
    responses={**_DONE, **problems(404, 409, 504)},
)
async def close(
    session_id: SessionId,
    caller: Admin,
    purge: Annotated[bool, Query(description="also delete its events, checkpoints and files")] = False,
) -> Response:
    """End a session: its running cell is interrupted, its pending ones are cancelled."""
    await session_of(caller, session_id).close(purge=purge)
    return Response(status_code=204)
