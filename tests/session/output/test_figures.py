"""matplotlib figures become PNG displays when a cell ends; a stand-in for the package records how it is called."""

import base64

import pytest

pytestmark = pytest.mark.anyio

FIGURE = """
class Figure:
    def __init__(self, number): self.number = number
    def __repr__(self): return f"<Figure {self.number}>"
    def savefig(self, out, **options):
        if self.number == 13: raise ValueError("can't be drawn")
        if self.number == 14: raise SystemExit
        out.write(f"picture {self.number} {options}".encode())
"""
PYPLOT = """
from matplotlib.figure import Figure
open_figures = {}
def figure(number): return open_figures.setdefault(number, Figure(number))
def get_fignums(): return sorted(open_figures)
def close(which): open_figures.clear()
def show():
    import importlib, os
    from skep_workers.session.display.publisher import show_figures
    show_figures()
"""


@pytest.fixture
async def session(start_session, tmp_path):
    package = tmp_path / "matplotlib"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "figure.py").write_text(FIGURE)
    (package / "pyplot.py").write_text(PYPLOT)
    session = await start_session()
    assert (await session.run("import matplotlib.pyplot as plt")).displays == []
    return session


def picture(number):
    text = f"picture {number} {{'format': 'png', 'bbox_inches': 'tight'}}"
    return {"image/png": base64.b64encode(text.encode()).decode(), "text/plain": f"<Figure {number}>"}


@pytest.mark.parametrize(
    "code",
    ["plt.figure(1); plt.figure(2);", "import asyncio\nawait asyncio.sleep(0)\nplt.figure(1); plt.figure(2);",
     "import time\ntime.sleep(0)\nplt.figure(1); plt.figure(2);"],
    ids=["simple", "await", "blocking"],
)  # fmt: skip
async def test_open_figures_are_shown_and_closed_when_a_cell_ends(session, code):
    cell = await session.run(code)

    assert [display.bundle for display in cell.displays] == [picture(1), picture(2)]
    assert await session.value("plt.get_fignums()") == []


async def test_show_shows_at_once_and_not_again_at_the_end(session):
    cell = await session.run("plt.figure(1)\nplt.show()\nprint('after')")

    assert cell.kinds == ["Display", "Output", "Done"]


async def test_a_figure_as_the_last_expression_shows_itself(session):
    cell = await session.run("from matplotlib.figure import Figure\nFigure(5)")

    assert cell.result.bundle == picture(5)


async def test_a_figure_that_can_not_be_drawn_fails_its_cell_and_no_other(session):
    cell = await session.run("plt.figure(1); plt.figure(13); plt.figure(20);")

    assert (cell.status, cell.error.ename) == ("failed", "ValueError")
    assert [display.bundle for display in cell.displays] == [picture(1)]
    assert (await session.run("pass")).status == "finished"


@pytest.mark.parametrize("number", [13, 14])
async def test_a_figure_as_a_value_that_can_not_be_drawn_is_its_repr(session, number):
    cell = await session.run(f"from matplotlib.figure import Figure\nFigure({number})")

    assert (cell.status, cell.result.bundle) == ("finished", {"text/plain": f"<Figure {number}>"})


@pytest.mark.parametrize("figures", ["plt.figure(1)", "plt.figure(1); plt.figure(13)"], ids=["drawn", "not drawn"])
async def test_figures_of_a_cell_that_fails_are_shown_with_its_own_error(session, figures):
    cell = await session.run(f"{figures}\n1 / 0")

    assert [display.bundle for display in cell.displays] == [picture(1)]
    assert cell.error.ename == "ZeroDivisionError"
    assert (await session.run("pass")).displays == []


BLANK = """
from matplotlib.figure import Figure
class Parted(Figure):
    def __init__(self, number, **parts):
        super().__init__(number)
        for name in ("axes", "lines", "texts", "images", "patches", "legends", "artists", "subfigs"):
            setattr(self, name, parts.get(name, []))
"""


async def test_a_figure_without_axes_is_no_picture(session):
    await session.run(BLANK)
    cells = [
        await session.run(code)
        for code in ("plt.open_figures[3] = Parted(3)", "plt.figure(1); plt.open_figures[3] = Parted(3)")
    ]

    assert [[display.bundle for display in cell.displays] for cell in cells] == [[], [picture(1)]]
    assert await session.value("plt.get_fignums()") == []


async def test_a_figure_without_axes_that_is_displayed_is_its_repr(session):
    await session.run(BLANK)
    cells = [
        await session.run("Parted(3)"),
        await session.run("plt.open_figures[3] = Parted(3)\nplt.show()"),
        await session.run("display(Parted(3))"),
    ]

    text = {"text/plain": "<Figure 3>"}
    assert cells[0].result.bundle == text
    assert [display.bundle for cell in cells[1:] for display in cell.displays] == [text, text]


@pytest.mark.parametrize("part", ["axes", "lines", "texts", "images", "patches", "legends", "artists"])
async def test_a_figure_with_anything_on_it_is_a_picture(session, part):
    await session.run(BLANK)
    cells = [
        await session.run(f"plt.open_figures[3] = Parted(3, {part}=['one'])"),
        await session.run(f"plt.open_figures[3] = Parted(3, subfigs=[Parted(4), Parted(5, {part}=['one'])])"),
        await session.run("plt.open_figures[3] = Parted(3, subfigs=[Parted(4)])"),
    ]

    assert [[display.bundle for display in cell.displays] for cell in cells] == [[picture(3)], [picture(3)], []]
