"""Trees, templates, schemas, strategies, shapes and labelled arrays."""

from .case import read

CASES = read(
    "documents",
    r"""
== a template of jinja2 [or loses: t]
import jinja2
env = jinja2.Environment(); t = env.from_string('Hi {{ x }}')
--
assert t.render(x=1) == 'Hi 1' and t.environment is env
-- told
assert env.from_string('Hi {{ x }}').render(x=2) == 'Hi 2'
== filters, loaders and globals of jinja2 [or loses: env, page]
import jinja2
env = jinja2.Environment(loader=jinja2.DictLoader({"base": "<{% block b %}{% endblock %}>", "page": "{% extends 'base' %}{% block b %}{{ x|shout }}{{ site }}{% endblock %}"}), autoescape=True)
env.filters["shout"] = lambda v: v.upper() + mark; env.globals["site"] = "s"; mark = "!"; page = env.get_template("page")
--
mark = "?"
assert page.render(x="a") == "<A?s>" and env.get_template("page").render(x="b") == "<B?s>" and page.environment is env
-- told
assert mark == "!" and jinja2.Template("{{ x }}").render(x=1) == "1"
== filters that cells add to jinja2 itself
import jinja2.filters
from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_TESTS
def shout(v): return v.upper() + "!"
++
DEFAULT_FILTERS["shout"] = shout; jinja2.filters.FILTERS["quiet"] = str.lower; DEFAULT_TESTS.update(loud=str.isupper)
--
assert jinja2.Template("{{ x|shout }}{{ x|quiet }}{{ 'A' is loud }}{{ x|upper }}").render(x="a") == "A!aTrueA"
assert DEFAULT_FILTERS is jinja2.filters.FILTERS and DEFAULT_FILTERS["shout"] is shout
== filters of an environment that has loaded nothing yet
import jinja2
env = jinja2.Environment(loader=jinja2.DictLoader({"page": "{{ x|shout }}"})); env.filters["shout"] = lambda v: v.upper() + mark; mark = "!"
--
mark = "?"
assert env.get_template("page").render(x="a") == "A?"
== a tree of lxml [or loses: r]
from lxml import etree
r = etree.fromstring('<a><b/></a>'); kept = [1]
--
assert r[0].tag == 'b' and kept == [1]
-- told
assert kept == [1] and etree.fromstring("<c/>").tag == "c"
== elements, paths and style sheets of lxml [or loses: root, child, find, sheet, box]
from lxml import etree
root = etree.fromstring("<a><b n='1'/><b n='2'/></a>"); child = root[0]; find = etree.XPath("//b[@n=$n]"); sheet = etree.XSLT(etree.XML("<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999/XSL/Transform'><xsl:template match='/'><out/></xsl:template></xsl:stylesheet>")); box = {"child": child}; text = etree.tostring(root)
--
assert child.getparent() is root and find(root, n="2")[0].get("n") == "2" and box["child"] is child and str(sheet(root)).strip().endswith("<out/>")
-- told
assert etree.fromstring(text)[1].get("n") == "2"
== a tree of the standard library
import xml.etree.ElementTree as ET
r = ET.fromstring('<a><b/></a>'); b = r[0]
--
assert r[0] is b
r.append(ET.Element("c")); assert [e.tag for e in r] == ["b", "c"]
== a document of minidom
import xml.dom.minidom as dom
d = dom.parseString("<a><b>t</b></a>"); b = d.documentElement.firstChild
--
assert b.parentNode is d.documentElement and b.firstChild.data == "t" and b.ownerDocument is d
== a schema of marshmallow
from marshmallow import Schema, fields
class S(Schema):
    a = fields.Int(required=True)
s = S()
--
assert s.load({'a': '3'}) == {'a': 3} and S().load({'a': 1}) == {'a': 1}
== hooks and nested schemas of marshmallow
from marshmallow import Schema, ValidationError, fields, post_load, validates
class User:
    def __init__(self, **k): self.__dict__.update(k)
class UserSchema(Schema):
    name = fields.Str(required=True)
    friends = fields.List(fields.Nested(lambda: UserSchema(exclude=("friends",))))
    @validates("name")
    def no_blank(self, value, **kwargs):
        if not value: raise ValidationError("blank")
    @post_load
    def make(self, data, **kwargs): return User(**data)
schema = UserSchema(); user = schema.load({"name": "a", "friends": [{"name": "b"}]})
--
assert type(user) is User and user.friends[0].name == "b" and schema.dump(user)["friends"] == [{"name": "b"}]
try: schema.load({"name": ""})
except ValidationError as exc: assert exc.messages == {"name": ["blank"]}
else: raise AssertionError("not validated")
== strategies and tests of hypothesis
from hypothesis import HealthCheck, given, strategies as st, settings
s = st.lists(st.integers())
@settings(max_examples=5, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(s)
def t(l): assert len(l) >= 0
--
t()
== a profile of settings
from hypothesis import settings
settings.register_profile("own", max_examples=3, database=None); settings.load_profile("own")
--
assert settings.default.max_examples == 3, "the profile is another one"
== composite strategies
from hypothesis import HealthCheck, given, settings, strategies as st
@st.composite
def pairs(draw): a = draw(st.integers(0, limit)); return a, draw(st.integers(a, limit))
limit = 9; seen = []
@settings(max_examples=3, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs())
def check(p): seen.append(p); assert p[0] <= p[1] <= limit
--
seen.clear(); check(); assert 1 <= len(seen) <= 3
== shapes
from shapely.geometry import Point
p = Point(1,2).buffer(1)
--
assert 3 < p.area < 3.2
== prepared shapes and trees of them [or loses: prepared, tree]
from shapely import STRtree, prepare
from shapely.geometry import LineString, Point, Polygon, box
from shapely.prepared import prep
a = box(0, 0, 2, 2); prepared = prep(a); tree = STRtree([Point(0, 0), Point(5, 5)]); ring = Polygon([(0, 0), (4, 0), (4, 4)], [[(1, 0.5), (2, 0.5), (2, 1)]]); prepare(a)
--
assert prepared.contains(Point(1, 1)) and tree.query(Point(5, 5)).tolist() == [1] and len(ring.interiors) == 1 and a.contains(Point(1, 1))
-- told
assert a.contains(Point(1, 1)) and len(ring.interiors) == 1
== labelled arrays
import xarray as xr, numpy as np
ds = xr.Dataset({'a': ('x', np.arange(3))}); v = ds.a
--
assert int(ds.a.sum()) == 3 and v.sum() == 3
== options of xarray
import xarray as xr
xr.set_options(display_width=33, keep_attrs=True)
--
assert xr.get_options()["display_width"] == 33
== coordinates, attributes and accessors of xarray
import xarray as xr, numpy as np
@xr.register_dataarray_accessor("own")
class Own:
    def __init__(self, a): self.a = a
    def double(self): return self.a * factor
factor = 2
da = xr.DataArray(np.arange(4.0).reshape(2, 2), dims=("t", "x"), coords={"t": np.array(["2026-01-01", "2026-01-02"], "M8[ns]")}, name="v", attrs={"unit": "m"}); groups = da.groupby("t.day")
--
assert da.own.double().values.tolist() == [[0, 2], [4, 6]], "the accessor"
assert da.sel(t="2026-01-02").values.tolist() == [2, 3] and da.attrs == {"unit": "m"} and groups.sum(...).values.tolist() == [1, 5]
== an array that a label shares with NumPy
import xarray as xr, numpy as np
base = np.zeros(3); da = xr.DataArray(base, dims="x")
--
base[1] = 5
assert da.values[1] == 5, "it is a copy now"
""",
)
