"""Webhooks of a tenant: what is sent to which URL, how that goes, and sending again."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from skep.gateway.answers import StoredWebhookAnswer, WebhookAnswer, WebhooksAnswer, json_response
from skep.gateway.bodies import ReplayBody
from skep.gateway.routes.documentation import Admin, Reader, problems
from skep.gateway.webhooks.definition import WebhookSpec
from skep_shared.json_form import json_form

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

Name = Annotated[str, Path(min_length=1, max_length=200, examples=["ci"], description="the webhook's name")]


@router.get("", operation_id="getWebhooks", summary="Webhooks", response_model=WebhooksAnswer, responses=problems())
async def list_webhooks(caller: Reader) -> Response:
    """Return the tenant's webhooks by name, without their secrets."""
    found = await caller.gateway.webhooks.list(caller.access.tenant)
    return json_response({"webhooks": [json_form(state.as_record()) for state in found]})


@router.get(
    "/{name}",
    operation_id="getWebhook",
    summary="A webhook, and how its deliveries go",
    response_model=WebhookAnswer,
    responses=problems(404),
)
async def get_webhook(name: Name, caller: Reader) -> Response:
    """Return a webhook, without its secret."""
    state = await caller.gateway.webhooks.get(caller.access.tenant, name)
    return json_response(json_form(state.as_record()))


@router.put(
    "/{name}",
    operation_id="putWebhook",
    summary="Make or replace a webhook",
    response_model=StoredWebhookAnswer,
    responses={201: {"model": StoredWebhookAnswer, "description": "Made."}, **problems(400)},
)
async def put_webhook(name: Name, body: WebhookSpec, caller: Admin) -> Response:
    """Send events to a URL from now on, signed as Standard Webhooks describes: at least once, in order per session.

    The answer has the secret if it is a new one; it is not shown again. A disabled webhook is enabled again.
    """
    webhooks, tenant = caller.gateway.webhooks, caller.access.tenant
    stored = await webhooks.put(tenant, name, body)
    record = (await webhooks.get(tenant, name)).as_record()
    return json_response(json_form(record | {"secret": stored.secret}), 201 if stored.is_new else 200)


@router.delete(
    "/{name}",
    operation_id="removeWebhook",
    summary="Remove a webhook",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "Removed."}, **problems(404)},
)
async def remove_webhook(name: Name, caller: Admin) -> Response:
    """Remove a webhook; nothing more is sent."""
    await caller.gateway.webhooks.delete(caller.access.tenant, name)
    return Response(status_code=204)


@router.post(
    "/{name}/replay",
    operation_id="replayWebhook",
    summary="Send a session's events again",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "They will be sent."}, **problems(400, 404)},
)
async def replay_webhook(name: Name, body: ReplayBody, caller: Admin) -> Response:
    """Send the events of a session after an event again, as far as they are stored."""
    await caller.gateway.webhooks.replay(caller.access.tenant, name, body.session_id, body.after)
    return Response(status_code=204)
