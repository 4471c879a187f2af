"""matplotlib, seaborn, plotly, bokeh and Pillow: figures that are open, and what the libraries keep for the process."""

from .case import read

CASES = read(
    "figures",
    r"""
== a figure of matplotlib
import matplotlib.pyplot as plt
fig, ax = plt.subplots(); line, = ax.plot([1,2,3]); plt.close(fig)
--
assert ax.figure is fig and ax.lines[0] is line
== a parameter
import matplotlib as mpl
mpl.rcParams['lines.linewidth'] = 7.5
--
import matplotlib as mpl
assert mpl.rcParams['lines.linewidth'] == 7.5
== a name of the parameters
import matplotlib
matplotlib.use('Agg')
from matplotlib import rcParams
rcParams['lines.linewidth'] = 3
--
rcParams['lines.linewidth'] = 7
assert matplotlib.rcParams['lines.linewidth'] == 7, "rcParams is another mapping than matplotlib.rcParams"
== a style, and parameters of a while
import matplotlib as mpl, matplotlib.pyplot as plt
plt.style.use("ggplot"); plt.rc("font", size=17)
with plt.rc_context({"lines.linewidth": 9}): pass
--
assert mpl.rcParams["axes.facecolor"] == "#E5E5E5" and mpl.rcParams["font.size"] == 17 and mpl.rcParams["lines.linewidth"] != 9
== a figure that was shown at the end of its cell
import matplotlib.pyplot as plt
fig, (left, right) = plt.subplots(1, 2, num="mine"); plt.sca(left); plt.plot([1, 2]); plt.ylabel("v");
--
assert not plt.get_fignums() and left.figure is fig is right.figure and fig.axes == [left, right] and left.get_ylabel() == "v"
plt.plot([3]); assert plt.gcf() is not fig
import io; fig.savefig(io.BytesIO(), format="png"); plt.close("all")
== artists that refer to each other
import matplotlib.pyplot as plt, numpy as np
fig, ax = plt.subplots(); twin = ax.twinx(); line, = ax.plot([1, 2], label="l"); legend = ax.legend(); image = twin.imshow(np.eye(3)); bar = fig.colorbar(image, ax=twin); note = ax.annotate("n", (0, 1)); plt.close(fig)
--
assert twin.get_shared_x_axes().joined(ax, twin) and legend.axes is ax and image.colorbar is bar and note in ax.texts and line.axes is ax
line.set_data([0, 1], [2, 3]); import io; fig.savefig(io.BytesIO(), format="png")
== formatters, scales and events with functions of cells
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter
def shown(v, pos): return f"{v:.0f}{unit}"
unit = "m"; fig, ax = plt.subplots(); ax.plot([1, 2]); ax.xaxis.set_major_formatter(FuncFormatter(shown)); ax.set_yscale("log"); plt.close(fig)
--
unit = "km"
assert ax.xaxis.get_major_formatter()(3, 0) == "3km" and ax.get_yscale() == "log"
== a colour map that is registered
import matplotlib as mpl, matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, Normalize
own = LinearSegmentedColormap.from_list("own", ["red", "blue"]); mpl.colormaps.register(own); norm = Normalize(0, 10)
--
assert mpl.colormaps["own"](0.0) == (1.0, 0.0, 0.0, 1.0) and norm(5) == 0.5 and plt.get_cmap("own") == own
== interactive mode
import matplotlib.pyplot as plt
plt.ion();
--
assert plt.isinteractive()
== a grid of seaborn
import seaborn as sns, pandas as pd
g = sns.FacetGrid(pd.DataFrame({'a': [1,2], 'b': ['x','y']}), col='b')
--
assert g.axes.shape == (1, 2)
g.map(lambda v, **k: None, "a")
== a theme and a palette of seaborn
import seaborn as sns, matplotlib as mpl
sns.set_theme(style="dark", font_scale=2); sns.set_palette("husl", 3); palette = sns.color_palette()
--
assert mpl.rcParams["axes.facecolor"] == "#EAEAF2" and len(sns.color_palette()) == 3 and sns.color_palette() == palette
== a figure of plotly
import plotly.graph_objects as go
f = go.Figure(go.Scatter(y=[1,2]))
--
assert len(f.data) == 1
f.update_layout(title_text="t"); assert f.layout.title.text == "t" and f.to_json()
== templates and renderers of plotly
import plotly.graph_objects as go, plotly.io as pio
pio.templates["own"] = go.layout.Template(layout_font_size=19); pio.templates.default = "own"; pio.renderers.default = "json"
--
assert pio.templates.default == "own" and pio.templates["own"].layout.font.size == 19 and pio.renderers.default == "json"
assert go.Figure().layout.template.layout.font.size == 19
== a figure of plotly express, with traces
import plotly.express as px, pandas as pd
f = px.line(pd.DataFrame({"x": [1, 2], "y": [3, 4], "c": ["a", "b"]}), x="x", y="y", color="c"); spec = f.to_plotly_json()
--
assert [t.name for t in f.data] == ["a", "b"] and len(spec["data"]) == 2
== a figure of bokeh [or loses: p, line]
from bokeh.plotting import figure
p = figure(); line = p.line([1,2],[3,4]); kept = [1]
--
assert len(p.renderers) == 1 and p.renderers[0] is line and kept == [1]
-- told
assert kept == [1] and figure() is not None
== sources and callbacks of bokeh [or loses: source, p, glyph]
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
source = ColumnDataSource({"x": [1, 2], "y": [3, 4]}); p = figure(title="t"); glyph = p.scatter("x", "y", source=source); seen = []; source.on_change("data", lambda attr, old, new: seen.append(attr))
--
assert glyph.data_source is source and p.title.text == "t" and source.data["x"] == [1, 2]
source.data = {"x": [5], "y": [6]}; assert glyph.data_source.data["x"] == [5] and seen == ["data"]
-- told
assert seen == [] and ColumnDataSource({"x": [1]}).data["x"] == [1] and figure() is not None
== an image of Pillow, and what draws on it [or loses: d]
from PIL import Image, ImageDraw
im = Image.new('RGB', (4,4), 'red'); d = ImageDraw.Draw(im)
--
assert im.getpixel((0,0)) == (255,0,0)
d.point((1, 1), "blue"); assert im.getpixel((1, 1)) == (0, 0, 255), "it draws on another image"
-- told
assert im.getpixel((0, 0)) == (255, 0, 0) and ImageDraw.Draw(im) is not None
== images of files, modes and palettes
from PIL import Image
Image.new("L", (2, 2), 7).save("im.png"); opened = Image.open("im.png"); loaded = Image.open("im.png"); loaded.load(); pal = Image.new("P", (2, 2)); pal.putpalette([1, 2, 3] * 256); alpha = Image.new("RGBA", (2, 2), (1, 2, 3, 4)); alpha.info["note"] = "n"
--
assert opened.getpixel((0, 0)) == 7 and loaded.getpixel((1, 1)) == 7 and pal.getpalette()[:3] == [1, 2, 3] and alpha.getpixel((0, 0)) == (1, 2, 3, 4) and alpha.info["note"] == "n" and alpha.mode == "RGBA"
== an image over an array
from PIL import Image, ImageFilter
import numpy as np
arr = np.zeros((2, 2, 3), "u1"); im = Image.fromarray(arr); blur = ImageFilter.GaussianBlur(2); crop = im.crop((0, 0, 1, 1))
--
assert np.asarray(im).shape == (2, 2, 3) and blur.radius == 2 and crop.size == (1, 1)
""",
    is_preloaded=True,
)
