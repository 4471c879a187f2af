"""The code in docs/webhooks.md that checks a signature accepts what skep sends, and nothing else."""

import re
import time
from pathlib import Path

import pytest

from skep.gateway.webhooks.settings import WebhookSettings
from skep.gateway.webhooks.signature import new_secret, signed_headers

PAGE = Path(__file__).parents[3] / "docs" / "webhooks.md"


@pytest.fixture
def is_from_skep():
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(code, names)  # noqa: S102 - our own page
    return names["is_from_skep"]


def test_the_documented_check_accepts_a_delivery_and_refuses_changes(is_from_skep):
    secret = new_secret()
    headers = signed_headers(secret, "msg_1", b"body", at=time.time())

    assert is_from_skep(secret, headers, b"body")
    assert not is_from_skep(secret, headers, b"other")
    assert not is_from_skep(new_secret(), headers, b"body")
    assert not is_from_skep(secret, headers | {"webhook-id": "msg_2"}, b"body")
    assert not is_from_skep(secret, signed_headers(secret, "m", b"body", at=time.time() - 3600), b"body")


def test_every_setting_is_documented_with_its_default():
    page = PAGE.read_text()
    for name, field in WebhookSettings.model_fields.items():
        [row] = [
            line
            for line in page.splitlines()
            if line.startswith("| ") and f"`SKEP_GATEWAY_WEBHOOK_{name.upper()}`" in line
        ]
        default = "none" if field.default == [] else f"{field.default:.10g}"
        assert default in row, name
