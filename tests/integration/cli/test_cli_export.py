"""`skep replay ID --ipynb OUT --html OUT`, and the same from Python: a real session as a notebook and as a page."""

import asyncio
import json
import os
import subprocess
import uuid
from pathlib import Path

import nbformat
import pytest

import skep

from .commands import skep_command

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

HOSTILE = "</iframe></pre></title><script>document.title = 'taken'</script>\x00\u2028"


async def replay(cluster: skep.EmbeddedCluster, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    command = skep_command("replay", *arguments, "--redis", cluster.redis_url)
    run = subprocess.run
    return await asyncio.to_thread(run, command, env=env, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def session(cluster: skep.EmbeddedCluster) -> skep.Session:
    return cluster.session(f"s-{uuid.uuid4().hex[:8]}")


async def test_a_session_becomes_a_notebook_and_a_page(cluster, session, tmp_path):
    await session.run("print('said')\nhandle = display('before', display_id='d')\n6 * 7", labels={"app": "x"})
    await session.run("handle.update('after')\nimport sys; print('err', file=sys.stderr)\n1 / 0", cell_id="second")
    done = await replay(cluster, session.id, "--ipynb", "out.ipynb", "--html", "out.html", cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.html", "out.ipynb"]
    document = json.loads((tmp_path / "out.ipynb").read_text())
    nbformat.validate(document)
    assert document == await session.notebook()
    first, second = document["cells"]
    kinds = [(output["output_type"], output.get("text") or output["data"]["text/plain"]) for output in first["outputs"]]
    assert kinds == [("stream", "said\n"), ("display_data", "'after'"), ("execute_result", "42")]
    assert [output["output_type"] for output in second["outputs"]] == ["stream", "error"]
    facts = second["metadata"]["skep"]
    assert {name: facts[name] for name in ("seq", "cell_id", "attempt", "status", "checkpoint")} == {
        "seq": 2, "cell_id": "second", "attempt": 1, "status": "failed", "checkpoint": "2-0",
    }  # fmt: skip
    page = (tmp_path / "out.html").read_text()
    assert page == await session.html()
    assert "ZeroDivisionError: division by zero" in page


async def test_hostile_output_is_only_text_in_both(session):
    await session.run(
        f"text = {HOSTILE!r}\nprint(text, '\\ud800')\ndisplay({{'text/html': text, 'text/plain': text}}, raw=True)\n"
        f"raise ValueError(text)"
    )
    document, page = await session.notebook(), await session.html()

    nbformat.validate(document)
    json.dumps(document, ensure_ascii=False).encode()
    assert "<script>" not in page
    assert page.count("</iframe>") == page.count("<iframe") == 1


async def test_the_sizes_of_an_export_are_bounded(session):
    await session.run("print('x' * 10_000)")
    [cell] = (await session.notebook(max_cell_bytes=100))["cells"]

    assert [output["text"] for output in cell["outputs"]] == [
        "x" * 100, "skep: 9901 bytes of output are not in this export\n",
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [{"max_cell_bytes": -1}, {"max_bytes": "1"}, {"max_bytes": 2**40}])
async def test_a_bound_that_can_be_none_is_refused(session, limit):
    with pytest.raises(skep.InvalidArgument, match=f"{next(iter(limit))}: .* is refused: a number from 0 to"):
        await session.html(**limit)


async def test_a_session_that_does_not_exist_has_no_notebook(cluster, session, tmp_path):
    with pytest.raises(skep.NotFound):
        await session.notebook()

    done = await replay(cluster, session.id, "--ipynb", "out.ipynb", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"skep: there is no session {session.id!r}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--ipynb", "out.html"],
            "--ipynb: 'out.html' is refused: a notebook is written, so its name must end in .ipynb",
        ),
        (
            ["--html", "x.ipynb"],
            "--html: 'x.ipynb' is refused: a page is written, so its name must end in .html or .htm",
        ),
        (["--html", "nowhere/x.html"], "--html: 'nowhere/x.html' is refused: it can't be written there"),
        (["--html", "x.html", "--follow"], "--follow: True is refused: --ipynb and --html write the whole record"),
        (["--ipynb", "x.ipynb", "--after", "3-0"], "--after: True is refused"),
    ],
)
async def test_an_export_that_cannot_be_written_is_refused(cluster, session, tmp_path, arguments, complaint):
    done = await replay(cluster, session.id, *arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"skep: {complaint}")
    assert list(tmp_path.iterdir()) == []
