"""`skep gateway`: serves HTTP, on the cluster that is named, or on an embedded one."""

from skep.cli.flags import Place
from skep.cli.output.failures import complain
from skep.cli.output.screen import Screen
from skep.cli.places import own_cluster, settings_of
from skep.local.extras import check_extra
from skep_shared.environment import unknown_variables
from skep_shared.errors import InvalidArgument
from skep_shared.settings import Settings


async def run_gateway(place: Place, host: str | None, port: int | None) -> int:
    """Serve until a signal, and return the exit status."""
    check_extra("gateway")
    from skep.gateway.server import Address, open_socket, serve  # noqa: PLC0415 - needs the extra
    from skep.gateway.settings import GATEWAY_PREFIX, GatewaySettings  # noqa: PLC0415
    from skep.gateway.tokens.identity_settings import IdentitySettings  # noqa: PLC0415
    from skep.gateway.webhooks.settings import WebhookSettings  # noqa: PLC0415

    known = [*GatewaySettings.model_fields, *(f"webhook_{name}" for name in WebhookSettings.model_fields)]
    known += [f"jwt_{name}" for name in IdentitySettings.model_fields]
    for sentence in unknown_variables(known, prefix=GATEWAY_PREFIX):
        complain(sentence)
    settings = GatewaySettings.load(host=host, port=port)

    def on_ready(address: Address) -> None:
        if address.token is not None:
            complain(f"for programs, until this ends: Authorization: Bearer {address.token}")
        print(address.link or address.url, flush=True)

    if place.redis_url is None and place.prefix is not None:
        raise InvalidArgument("--prefix", place.prefix, "it names a cluster's keys, so --redis is needed too")
    with open_socket(settings) as listener:
        if place.redis_url is not None:
            await serve(listener, settings, settings_of(place), on_ready)
            return 0
        screen = Screen()
        async with own_cluster(screen) as cluster:
            client = Settings.load(redis_url=cluster.redis_url)
            await serve(listener, settings, client, on_ready)
    return 0
