"""Tables of pandas and blank figures of matplotlib, as a notebook shows them."""

import pytest

pytestmark = pytest.mark.anyio

WIDE = "import pandas as pd\ndf = pd.DataFrame({f'a column with a long name {n}': [n, -n] for n in range(12)})"


async def ran(session, code):
    outcome = await session.run(code)
    assert outcome.ok, outcome.error
    return outcome


async def test_a_wide_table_is_not_folded(session):
    pytest.importorskip("pandas")
    await ran(session, WIDE)
    shown = await ran(session, "df")
    printed = await ran(session, "print(df)")

    for text in (shown.result["text/plain"], printed.text.removesuffix("\n")):
        header, *rows = text.split("\n")
        assert len(rows) == 2
        assert all(f"a column with a long name {n}" in header for n in range(12))


async def test_as_many_columns_are_shown_as_in_a_notebook(session):
    pytest.importorskip("pandas")
    outcome = await ran(session, "import pandas as pd\npd.DataFrame([range(30)])")

    header = outcome.result["text/plain"].split("\n")[0].split()
    assert header == [*map(str, range(10)), "...", *map(str, range(20, 30))]


@pytest.mark.parametrize("setting", ["pd.set_option('display.width', 80)", "pd.options.display.width = 80"])
async def test_the_users_own_width_counts_and_survives(session, setting):
    pytest.importorskip("pandas")
    await ran(session, f"{WIDE}\n{setting}\npd.set_option('display.max_columns', 0)")
    await session.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    outcome = await ran(session, "[pd.get_option('display.width'), pd.get_option('display.max_columns')]")

    assert outcome.value == [80, 0]
    assert max(map(len, (await ran(session, "print(df)")).text.split("\n"))) <= 80


async def test_a_reset_has_the_width_of_pandas_itself_and_survives(session):
    pytest.importorskip("pandas")
    await ran(session, "import pandas as pd\npd.reset_option('display.width')")
    await session.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    assert (await ran(session, "pd.get_option('display.width')")).value == 80


async def test_a_figure_without_axes_is_no_picture(session):
    pytest.importorskip("matplotlib")
    await ran(session, "import matplotlib.pyplot as plt")
    blank = await ran(session, "plt.figure();")
    drawn = await ran(session, "plt.figure(); plt.subplots();")
    asked = await ran(session, "f = plt.figure(); f")
    worded = await ran(session, "plt.figure().text(0.5, 0.5, 'words');")

    assert blank.display == ()
    assert [list(bundle) for bundle in drawn.display] == [["image/png", "text/plain"]]
    assert asked.result == {"text/plain": "<Figure size 640x480 with 0 Axes>"}
    assert len(worded.display) == 1
