"""Control of a session, answered while a cell runs: interrupt, answer, complete, inspect, variables."""

import dataclasses

from fastapi import APIRouter
from starlette.responses import Response

from skep.gateway.answers import (
    AnsweredAnswer,
    CompletionAnswer,
    InspectionAnswer,
    InterruptedAnswer,
    VariablesAnswer,
    json_response,
)
from skep.gateway.bodies import AnswerBody, CompleteBody, InspectBody, InterruptBody
from skep.gateway.routes.documentation import Reader, Runner, SessionId, problems, session_of
from skep_shared.json_form import json_form

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["control"])

_DOCUMENTED = problems(400, 404, 409, 504)


@router.post(
    "/interrupt",
    operation_id="interrupt",
    summary="End the running cell; the session continues",
    response_model=InterruptedAnswer,
    responses=_DOCUMENTED,
)
async def interrupt(session_id: SessionId, caller: Runner, body: InterruptBody | None = None) -> Response:
    """Interrupt the running cell, or the cell that the body names, now or as soon as it starts."""
    done = await session_of(caller, session_id).interrupt(None if body is None else body.cell_id)
    return json_response({"interrupted": done})


@router.post(
    "/answer",
    operation_id="answer",
    summary="Answer the running cell's input()",
    response_model=AnsweredAnswer,
    responses=_DOCUMENTED,
)
async def answer(session_id: SessionId, body: AnswerBody, caller: Runner) -> Response:
    """Send a line of input; it waits for the next input() if none is waiting."""
    return json_response({"answered": await session_of(caller, session_id).answer(body.text)})


@router.post(
    "/complete",
    operation_id="complete",
    summary="Completions at a place in code",
    response_model=CompletionAnswer,
    responses=_DOCUMENTED,
)
async def complete(session_id: SessionId, body: CompleteBody, caller: Reader) -> Response:
    """Return what could be at the cursor, also while a cell runs."""
    found = await session_of(caller, session_id).complete(body.code, body.cursor)
    return json_response(json_form(dataclasses.asdict(found)))


@router.post(
    "/inspect",
    operation_id="inspect",
    summary="Type, signature, documentation and source of a name",
    response_model=InspectionAnswer,
    responses=_DOCUMENTED,
)
async def inspect(session_id: SessionId, body: InspectBody, caller: Reader) -> Response:
    """Describe a dotted name, also while a cell runs."""
    found = await session_of(caller, session_id).inspect(body.name)
    return json_response(json_form(dataclasses.asdict(found)))


@router.get(
    "/variables",
    operation_id="getVariables",
    summary="The session's variables",
    response_model=VariablesAnswer,
    responses=problems(404, 409, 504),
)
async def variables(session_id: SessionId, caller: Reader) -> Response:
    """Return the names that cells have bound, also while a cell runs."""
    found = await session_of(caller, session_id).variables()
    return json_response({"variables": [json_form(dataclasses.asdict(variable)) for variable in found]})
