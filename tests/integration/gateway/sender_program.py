"""Sends webhooks until it is killed, as a gateway does: sender_program.py URL PREFIX SETTINGS(JSON)."""

import asyncio
import json
import sys

import skep
from skep.gateway.webhooks.network import Addresses
from skep.gateway.webhooks.senders import WebhookSenders
from skep.gateway.webhooks.settings import WebhookSettings
from skep_shared.settings import Settings


async def main() -> None:
    url, prefix, options = sys.argv[1:]
    settings = WebhookSettings.load(**json.loads(options))
    async with skep.connect(settings=Settings.load(redis_url=url, prefix=prefix)) as cluster:
        with Addresses(settings.internal_networks) as addresses:
            async with WebhookSenders(cluster._link, settings, addresses):
                print("sending", flush=True)
                await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
