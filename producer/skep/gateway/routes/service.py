"""The gateway itself: whether it lives, whether it can serve, and its counters."""

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from skep.gateway import metrics
from skep.gateway.answers import HealthAnswer, json_response
from skep.gateway.context import Gateway
from skep.gateway.problems import Refused
from skep.gateway.routes.documentation import Admin, problems
from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS
from skep_shared.errors import SkepError

router = APIRouter(tags=["service"])

READY_SECONDS: Final = 2.0


@router.get(
    "/healthz",
    operation_id="getHealth",
    summary="Whether the process answers",
    response_model=HealthAnswer,
    responses=problems(but=(401, 403)),
)
async def health() -> Response:
    """Return at once, whatever Redis does."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Whether requests can be served",
    response_model=HealthAnswer,
    responses=problems(but=(401, 403)),
)
async def readiness(request: Request) -> Response:
    """Return 503 while Redis does not answer, and when the gateway closes."""
    gateway: Gateway = request.app.state.gateway
    if gateway.shutdown.has_begun:
        kind = (503, "The gateway is closing", "Use another one.")
        raise Refused("Closing", kind, "It ends when its requests have ended.")
    try:
        async with asyncio.timeout(READY_SECONDS), gateway.clusters.of(None) as shard:
            await shard.link.redis.ping()
    except (SkepError, TimeoutError, *REDIS_ERRORS):
        kind = (503, "Redis is unavailable", "Try again later.")
        raise Refused(
            "RedisUnavailable", kind, f"It did not answer within {READY_SECONDS:g} s.", retry_after=2
        ) from None
    return json_response({"status": "ok"})


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Counters of the process, for Prometheus",
    response_class=Response,
    responses={
        200: {"description": "Counters.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(),
    },
)
async def get_metrics(caller: Admin) -> Response:
    """Return the counters of this process; they are those of all tenants, so the token must be of the whole shard."""
    if caller.access.tenant is not None:
        kind = (403, "The token does not permit this", "Use a token of no tenant.")
        raise Refused("Forbidden", kind, "The counters are of all tenants.")
    gateway = caller.gateway
    text = gateway.metrics.text(
        requests=gateway.quota.requests, streams=gateway.quota.streams, tenants=len(gateway.clusters),
        feeds=len(gateway.feeds),
    )  # fmt: skip
    return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})
