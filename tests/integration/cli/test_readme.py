"""README and docs: the examples run and print what is said, the commands exist, the tables say what the code says.

`python -m tests.integration.cli.test_readme` writes the table in docs/events.md.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import skep
from skep.gateway.settings import GatewaySettings
from skep.gateway.tokens.identity_settings import IdentitySettings
from skep.gateway.webhooks.settings import WebhookSettings
from skep_shared.events import BaseEvent, Event
from skep_shared.settings import WorkerSettings

from .commands import skep_command

TOP = Path(__file__).parents[3]
PAGES = [TOP / "README.md", TOP / "SECURITY.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").glob("*.md"))]
README = PAGES[0].read_text()
ARQ = (TOP / "docs" / "arq.md").read_text()
OPERATING = (TOP / "docs" / "operating.md").read_text()
EVENTS_PAGE = TOP / "docs" / "events.md"
TABLE = re.compile(r"(?<=<!-- events -->\n).*(?=<!-- end of events -->)", re.DOTALL)


def blocks(language: str, text: str = README) -> list[str]:
    """Return the text's fenced blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def the_block(language: str, mark: str, text: str = README) -> str:
    """Return the text's one block in that language with `mark` in it."""
    (block,) = [block for block in blocks(language, text) if mark in block]
    return block


def event_table() -> str:
    """Return the events as a Markdown table, from their classes."""
    lines = ["| kind | says | fields |", "|---|---|---|"]
    for cls in get_args(get_args(Event)[0]):
        own = [name for name in cls.model_fields if name not in {*BaseEvent.model_fields, "kind"}]
        says = (cls.__doc__ or "").splitlines()[0]
        lines.append(f"| `{cls.model_fields['kind'].default}` | {says} | {', '.join(f'`{name}`' for name in own)} |")
    return "\n".join(lines) + "\n"


def test_the_example_prints_what_is_said(tmp_path):
    script = tmp_path / "example.py"
    script.write_text(the_block("python", "skep.embedded()"))
    (said,) = blocks("text", README.partition("It prints:")[2])

    done = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr, done.returncode) == (said, "", 0)


@pytest.mark.anyio
async def test_a_cell_that_plain_arq_enqueued_runs_in_its_session():
    names: dict[str, object] = {}
    exec(the_block("python", "create_pool", ARQ), names)  # noqa: S102 - the page is ours
    enqueue = names["enqueue"]

    async with skep.embedded() as cluster:
        cell_id = await enqueue(cluster.redis_url, 21)
        outcome = await cluster.cell("user-42", cell_id).outcome(timeout=20)

    assert cell_id == "order-21"
    assert outcome.value == 42


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]

    assert missing == []


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_a_page_lead_to_a_heading(page):
    links = re.findall(r"\]\(([^):#]*)#([^)]+)\)", page.read_text())
    missing = [f"{to}#{anchor}" for to, anchor in links if anchor not in headings(page.parent / to if to else page)]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page):
    named = re.findall(
        r"`(?:tests/)?((?:unit|property|scripts|session|integration|chaos)/[\w/]+(?:\.py)?)`", page.read_text()
    )
    named = [name for name in named if "/test_" in name]
    missing = [name for name in named if not any((TOP / "tests" / f"{name}{end}").exists() for end in ("", ".py"))]

    assert missing == []


def test_the_file_map_is_the_tree():
    paths = re.findall(r"^\| `([a-z_/]+)` \|", README, re.MULTILINE)

    assert paths
    assert [path for path in paths if not (TOP / path).is_dir()] == []


def test_make_has_the_targets_that_are_named():
    named = set(re.findall(r"\bmake ([a-z]+)\b", "".join(blocks("sh"))))
    done = subprocess.run(["make", "help"], cwd=TOP, capture_output=True, text=True, check=True)

    assert {"tour", "test"} <= named
    assert named <= set(re.findall(r"make ([a-z]+)", done.stdout))


def named_commands() -> set[str]:
    """Return the commands of `skep` that the pages name in code."""
    text = "\n".join(page.read_text() for page in PAGES)
    scripts = "\n".join(blocks("sh", text) + blocks("ini", text))
    return set(re.findall(r"`skep ([a-z]+)", text)) | set(re.findall(r"(?:^|[ /])skep ([a-z]+)", scripts, re.MULTILINE))


@pytest.mark.parametrize("command", sorted(named_commands()))
def test_every_command_that_is_named_exists(command):
    done = subprocess.run(skep_command(command, "--help"), capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


SETTINGS = {
    *WorkerSettings.model_fields,
    *(f"gateway_{name}" for name in GatewaySettings.model_fields),
    *(f"gateway_webhook_{name}" for name in WebhookSettings.model_fields),
    *(f"gateway_jwt_{name}" for name in IdentitySettings.model_fields),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_is_named_exists(page):
    named = {
        name.lower()
        for name in re.findall(r"\bSKEP_(\w+)", page.read_text())
        if not name.startswith(("TEST_", "CHAOS_"))
    }

    assert named <= SETTINGS


def test_every_line_worth_an_alert_is_logged_somewhere():
    (table,) = re.findall(r"^\| line \| means \|\n\|---\|---\|\n((?:\|.*\n)+)", OPERATING, re.MULTILINE)
    source = "".join(path.read_text() for path in (TOP / "workers").rglob("*.py"))
    lines = re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE)

    assert lines
    assert [line for line in lines if f'"{line}"' not in source] == []


def test_the_table_of_events_is_the_code_s():
    (table,) = TABLE.findall(EVENTS_PAGE.read_text())

    assert table == event_table()


if __name__ == "__main__":
    EVENTS_PAGE.write_text(TABLE.sub(lambda _: event_table(), EVENTS_PAGE.read_text()))
