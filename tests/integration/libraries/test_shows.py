"""The show() of libraries that draw for a front end or a browser: what they draw comes as a display."""

import pytest

pytestmark = pytest.mark.anyio

PLOTLY = "import plotly.graph_objects as go\nfig = go.Figure(go.Bar(x=[1, 2], y=[3, 4]))"
BOKEH = "from bokeh.plotting import figure, show\np = figure()\np.line([1, 2], [3, 4])"
ALTAIR = (
    "import altair as alt, pandas as pd\n"
    "c = alt.Chart(pd.DataFrame({'a': [1], 'b': [2]})).mark_point().encode(x='a', y='b')"
)


async def shown(session, *codes):
    """Run cells, and return what the last one has displayed."""
    for code in codes:
        outcome = await session.run(code)
        assert outcome.ok, outcome.error
    assert outcome.warnings == ()
    return outcome.display


@pytest.mark.parametrize("line", ["fig.show()", "fig", "display(fig)", "import plotly.io as pio\npio.show(fig)"])
async def test_a_figure_of_plotly(session, line):
    pytest.importorskip("plotly")
    [bundle] = await shown(session, PLOTLY, line)

    assert bundle["application/vnd.plotly.v1+json"]["data"][0]["type"] == "bar"
    assert "plotly" in bundle["text/html"]


async def test_a_renderer_that_the_user_chooses_is_used(session):
    pytest.importorskip("plotly")
    await session.run("import os; os.environ['PLOTLY_RENDERER'] = 'json'")
    outcome = await session.run(f"{PLOTLY}\nimport plotly.io as pio\npio.renderers.default")

    assert outcome.value == "json"


async def test_a_figure_of_bokeh(session):
    pytest.importorskip("bokeh")
    [bundle] = await shown(session, BOKEH, "show(p)")

    assert "<html" in bundle["text/html"]


async def test_a_figure_of_bokeh_that_goes_to_a_file_is_written_and_shown(session):
    pytest.importorskip("bokeh")
    [bundle] = await shown(session, BOKEH, "from bokeh.plotting import output_file\noutput_file('o.html')\nshow(p)")

    assert "<html" in bundle["text/html"]
    assert (await session.run("import os; os.path.exists('o.html')")).value is True


async def test_a_figure_of_bokeh_in_a_notebook(session):
    pytest.importorskip("bokeh")
    first, second = await shown(session, BOKEH, "from bokeh.io import output_notebook\noutput_notebook()", "show(p)")

    assert "<div" in first["text/html"]
    assert "application/vnd.bokehjs_exec.v0+json" in second


@pytest.mark.parametrize("line", ["c.show()", "c.display()", "display(c)"])
async def test_a_chart_of_altair(session, line):
    pytest.importorskip("altair")
    [bundle] = await shown(session, ALTAIR, line)

    assert "vega" in bundle["text/html"]
