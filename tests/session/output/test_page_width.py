"""Code that reads a terminal's width gets a page's, and programs that cells start are not affected."""

import pytest

pytestmark = pytest.mark.anyio

TABLE = (
    "import io\nfrom rich.console import Console\nfrom rich.table import Table\n"
    "def wide():\n    table = Table('a' * 40, 'b' * 40)\n    table.add_row('c' * 40, 'd' * 40)\n    return table\n"
)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("import shutil; tuple(shutil.get_terminal_size())", (115, 24)),
        ("import shutil; tuple(shutil.get_terminal_size((70, 20)))", (70, 20)),
        ("import shutil; tuple(shutil.get_terminal_size(fallback=(80, 24)))", (80, 24)),
        ("from shutil import get_terminal_size as size; size().columns", 115),
        ("import os, shutil; os.environ['COLUMNS'] = '60'; shutil.get_terminal_size().columns", 60),
        ("import argparse; argparse.HelpFormatter('x')._width", 113),
        ("from rich.console import Console; Console().width", 115),
        ("import rich; rich.get_console().width", 115),
        ("import io\nfrom rich.console import Console\nConsole(file=io.StringIO()).width", 115),
        ("from rich.console import Console; Console(width=80).width", 80),
        ("from rich.console import Console; tuple(Console(width=60, height=9).size)", (60, 9)),
        ("import os\nfrom rich.console import Console\nos.environ['COLUMNS'] = '80'\nConsole().width", 80),
        ("from rich.console import Console\nc = Console()\nc.size = (80, 25)\nc.width", 80),
        ("from rich.console import Console; Console(_environ={'COLUMNS': '70'}).width", 70),
    ],
)
async def test_the_width_is(session, code, value):
    found = await session.value(code)

    assert (tuple(found) if isinstance(found, list) else found) == value


async def test_a_table_of_rich_is_not_folded_at_80_columns(session):
    cell = await session.run(f"{TABLE}import rich\nrich.print(wide())")

    assert [line for line in cell.text.splitlines() if "c" * 40 in line and "d" * 40 in line]


async def test_a_help_of_argparse_uses_the_page(session):
    cell = await session.run(
        "import argparse\np = argparse.ArgumentParser(prog='p')\n"
        "p.add_argument('--option', help=' '.join(['word'] * 16))\np.print_help()"
    )

    assert " ".join(["word"] * 16) in cell.text


@pytest.mark.parametrize("name", ["COLUMNS", "LINES", "JUPYTER_COLUMNS"])
async def test_the_width_is_not_in_the_environment(session, name):
    assert await session.text(f'!echo "[${name}]"') == "[]\n"
    assert await session.value(f"import os\n'{name}' in os.environ") is False


async def test_a_python_that_a_cell_starts_has_its_own_width(session):
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import shutil; print(shutil.get_terminal_size().columns)'], stdin=subprocess.DEVNULL)\nNone"

    assert await session.text(code) == "80\n"
