"""docs/http.md: its commands run against a real gateway, and its settings are those of the program."""

import asyncio
import re
from pathlib import Path

import pytest

from skep.gateway.settings import GatewaySettings

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[3] / "docs" / "http.md"
STEP = re.compile(r"<!-- test: (.*?) -->\n```sh\n(.*?)```", re.DOTALL)
API = re.compile(r"```sh\n(api\(\) .*?)```", re.DOTALL)


async def run_shell(script: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_every_step_of_the_tour_prints_what_it_is_to_print(gateway):
    text = DOCS.read_text()
    steps = STEP.findall(text)
    assert len(steps) > 10
    [api] = API.findall(text)

    for expected, script in steps:
        status, output = await run_shell(f"{api}\n{script}", GATEWAY=gateway.url, TOKEN=gateway.token)
        assert status == 0, f"{script}\n{output}"
        assert expected in output, f"{script}\n{output}"


async def test_every_setting_is_documented_with_its_default():
    text = DOCS.read_text()
    for name, field in GatewaySettings.model_fields.items():
        default = "none" if field.default == [] else field.default
        assert f"| `SKEP_GATEWAY_{name.upper()}` | {default} | {field.description} |" in text
