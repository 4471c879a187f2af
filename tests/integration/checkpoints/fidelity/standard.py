"""Types of the standard library."""

from .cases import read

CASES = read(
    "standard",
    r"""
== datetime kinds
import datetime as dt
when = dt.datetime(2026, 2, 3, 4, 5, 6, 7, fold=1); day = when.date(); at = when.time(); span = dt.timedelta(days=-1, microseconds=3)
--
assert (when, day, at, span) == (dt.datetime(2026, 2, 3, 4, 5, 6, 7), dt.date(2026, 2, 3), dt.time(4, 5, 6, 7), dt.timedelta(days=-1, microseconds=3))
assert when.fold == 1 and at.fold == 1
== timezone utc and fixed offsets
import datetime as dt
utc = dt.timezone.utc; fixed = dt.timezone(dt.timedelta(hours=2), "X"); when = dt.datetime(2026, 1, 1, tzinfo=utc)
--
assert utc is dt.timezone.utc and when.tzinfo is utc and fixed.tzname(None) == "X"
== zoneinfo
import datetime as dt, zoneinfo
zone = zoneinfo.ZoneInfo("Europe/Berlin"); when = dt.datetime(2026, 7, 1, tzinfo=zone)
--
assert zone is zoneinfo.ZoneInfo("Europe/Berlin") and when.tzinfo is zone and when.utcoffset() == dt.timedelta(hours=2)
== a tzinfo class of a cell
import datetime as dt
class Zone(dt.tzinfo):
    def utcoffset(self, when): return dt.timedelta(minutes=7)
    def dst(self, when): return None
when = dt.datetime(2026, 1, 1, tzinfo=Zone())
--
assert type(when.tzinfo) is Zone and when.utcoffset() == dt.timedelta(minutes=7)
== decimal and its special values
from decimal import Decimal
values = [Decimal("1.10"), Decimal("-0"), Decimal("Infinity"), Decimal("NaN"), Decimal("sNaN")]
--
assert [str(v) for v in values] == ["1.10", "-0", "Infinity", "NaN", "sNaN"]
== a decimal context as a value
import decimal
context = decimal.Context(prec=5, rounding=decimal.ROUND_DOWN)
--
assert context.divide(decimal.Decimal(2), decimal.Decimal(3)) == decimal.Decimal("0.66666")
== fractions
from fractions import Fraction
value = Fraction(3, -6); alias = value
--
assert value == Fraction(-1, 2) and alias is value
== numbers: NaN, infinities, negative zero, complex, huge ints
import math
nan = float("nan"); numbers = [nan, math.inf, -0.0, complex(-0.0, math.inf), 1 << 5000, -(1 << 5000), True, 0.1 + 0.2]
--
assert math.isnan(nan) and math.isnan(numbers[0]) and numbers[1] == math.inf and math.copysign(1, numbers[2]) == -1
assert math.copysign(1, numbers[3].real) == -1 and numbers[4] == -numbers[5] == 1 << 5000 and numbers[6] is True and numbers[7] == 0.1 + 0.2
== strings with surrogates, NUL and every plane
texts = ["\ud800 lone", "a\0b", "é", "\U0001f40d", "x" * 10_000, ""]
lone = "\udc80"
--
assert texts == ["\ud800 lone", "a\0b", "é", "\U0001f40d", "x" * 10_000, ""] and lone == "\udc80"
== a variable with a name that is not ascii
größe = [1]; 变量 = größe
--
assert größe is 变量 and größe == [1]
== bytes and bytearrays
data = bytes(range(256)); room = bytearray(b"abc"); same = room; large = bytearray(300_000)
--
room[0] = 0x7A; same.extend(b"d"); large[5] = 1
assert data == bytes(range(256)) and room == bytearray(b"zbcd") and same is room and len(large) == 300_000
== an empty bytearray and empty containers
kept = [bytearray(), b"", [], {}, set(), frozenset(), (), ""]
--
assert kept == [bytearray(), b"", [], {}, set(), frozenset(), (), ""] and [type(v).__name__ for v in kept[:2]] == ["bytearray", "bytes"]
== memoryview of a bytearray
room = bytearray(b"abcdef"); view = memoryview(room)
--
view[0] = 0x7A
assert type(view) is memoryview and room == b"zbcdef" and not view.readonly
== memoryview of a part
room = bytearray(b"abcdefgh"); view = memoryview(room)[2:6]; again = view[1:]
--
view[1] = 0x7A
assert bytes(view) == b"czef" and room == b"abczefgh" and bytes(again) == b"zef"
== memoryview of bytes, and with a format
import array
fixed = memoryview(b"abc"); numbers = array.array("i", [1, 2, 3]); view = memoryview(numbers); shaped = memoryview(bytes(6)).cast("B", (2, 3))
--
assert fixed.readonly and fixed == b"abc" and view.format == "i" and view.tolist() == [1, 2, 3] and shaped.shape == (2, 3)
view[0] = 9
assert numbers[0] == 9
== array.array of each kind
import array
kinds = {code: array.array(code, [1, 2]) for code in "bBhHiIlLqQfd"}; text = array.array("u", "añ")
--
assert all(kinds[code] == array.array(code, [1, 2]) and kinds[code].typecode == code for code in kinds) and text.tounicode() == "añ"
== ranges and slices
counted = range(3, 30, 4); cut = slice(1, None, [2]); huge = range(1 << 70)
--
assert counted == range(3, 30, 4) and (cut.start, cut.stop, cut.step) == (1, None, [2]) and huge[-1] == (1 << 70) - 1
== singletons
kept = [None, Ellipsis, NotImplemented, True, type(None), type(Ellipsis), type(NotImplemented)]
--
assert kept[1] is Ellipsis and kept[2] is NotImplemented and kept[3] is True and kept[4] is type(None) and kept[5] is type(...) and kept[6] is type(NotImplemented)
== sets and frozen sets
many = {1, "a", (2, 3), frozenset({4})}; frozen = frozenset({1, frozenset({2})}); same = many
--
same.add(9)
assert many == {1, "a", (2, 3), frozenset({4}), 9} and frozen == frozenset({1, frozenset({2})})
== deque with a bound
from collections import deque
last = deque(range(10), maxlen=3); free = deque("ab"); free.append(free)
--
last.append(10)
assert list(last) == [8, 9, 10] and last.maxlen == 3 and free.maxlen is None and free[2] is free
== OrderedDict
from collections import OrderedDict
ordered = OrderedDict(a=1, b=2); ordered.move_to_end("a"); ordered.note = "kept"
--
assert list(ordered) == ["b", "a"] and ordered.note == "kept" and type(ordered) is OrderedDict
== defaultdict with factories of all kinds
from collections import defaultdict
def seven(): return 7
plain = defaultdict(list); local = defaultdict(seven); deep = defaultdict(lambda: defaultdict(int)); deep["a"]["b"] += 1
--
plain["x"].append(1); deep["z"]["y"] += 2
assert plain == {"x": [1]} and local["x"] == 7 and local.default_factory is seven and deep["a"]["b"] == 1 and deep["z"]["y"] == 2
== a defaultdict that grows a tree of itself
from collections import defaultdict
def tree(): return defaultdict(tree)
root = tree(); root["a"]["b"]
--
root["a"]["c"]["d"]
assert list(root["a"]) == ["b", "c"] and root.default_factory is tree
== Counter
from collections import Counter
counted = Counter("abracadabra")
--
counted.update("a")
assert counted.most_common(1) == [("a", 6)] and counted["z"] == 0
== ChainMap
from collections import ChainMap
below = {"a": 1}; chain = ChainMap({}, below)
--
chain["b"] = 2; below["a"] = 5
assert chain["a"] == 5 and chain.maps[1] is below and "b" not in below
== UserDict, UserList, UserString
from collections import UserDict, UserList, UserString
one, two, three = UserDict(a=1), UserList([1]), UserString("x")
--
assert one == {"a": 1} and two == [1] and three == "x" and type(one) is UserDict
== namedtuple made by a call
from collections import namedtuple
Pair = namedtuple("Pair", "left right", defaults=[5]); one = Pair(1)
--
assert type(one) is Pair and one == (1, 5) and one._replace(left=2) == Pair(2, 5) and Pair._fields == ("left", "right")
== dict views
source = {"a": 1, "b": [2]}; keys, values, items = source.keys(), source.values(), source.items()
--
assert list(keys) == ["a", "b"] and list(values) == [1, [2]] and list(items) == [("a", 1), ("b", [2])]
source["c"] = 3
assert "c" in keys and 3 in values and ("c", 3) in items
== views of an OrderedDict
from collections import OrderedDict
source = OrderedDict(a=1); keys, values, items = source.keys(), source.values(), source.items()
--
source["b"] = 2
assert list(keys) == ["a", "b"] and list(values) == [1, 2] and list(items) == [("a", 1), ("b", 2)]
== re patterns
import re
pattern = re.compile(r"(?P<word>\w+)", re.I | re.X); raw = re.compile(rb"\d")
--
assert pattern.match("abc")["word"] == "abc" and pattern.flags & re.I and raw.search(b"a1").start() == 1
== re matches
import re
found = re.search(r"(\d+)-(?P<b>\w)", "x 12-y"); whole = re.fullmatch(rb"a(b)?", b"a"); begun = re.compile("a").match("bab", 1)
--
assert found.groups() == ("12", "y") and found.span("b") == (5, 6) and found.string == "x 12-y" and whole.group(1) is None and begun.span() == (1, 2) and begun.pos == 1
== pathlib
import pathlib
paths = [pathlib.Path("a/b"), pathlib.PurePosixPath("/x"), pathlib.PureWindowsPath("C:\\y")]
--
assert paths == [pathlib.Path("a/b"), pathlib.PurePosixPath("/x"), pathlib.PureWindowsPath("C:\\y")] and (paths[0] / "c").name == "c"
== uuid
import uuid
one = uuid.UUID(int=5); safe = uuid.UUID(int=6, is_safe=uuid.SafeUUID.safe)
--
assert one.int == 5 and safe.is_safe is uuid.SafeUUID.safe
== ipaddress
import ipaddress
kept = [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_interface("::1/64")]
--
assert kept[0] in kept[1] and str(kept[2]) == "::1/64"
== SimpleNamespace
import types
box = types.SimpleNamespace(a=[1]); box.me = box
--
assert box.me is box and box.a == [1]
== MappingProxyType
import types
source = {"a": 1}; proxy = types.MappingProxyType(source)
--
source["b"] = 2
assert type(proxy) is types.MappingProxyType and proxy["b"] == 2
== generic aliases
import typing, collections.abc, types
kept = [list[int], dict[str, list[int]], typing.Optional[int], typing.Callable[[int], str], int | None, collections.abc.Callable[..., int], typing.Annotated[int, "note"], typing.Literal["a", 1], tuple[int, ...]]
--
assert kept == [list[int], dict[str, list[int]], typing.Optional[int], typing.Callable[[int], str], int | None, collections.abc.Callable[..., int], typing.Annotated[int, "note"], typing.Literal["a", 1], tuple[int, ...]]
assert isinstance(kept[4], types.UnionType) and type(kept[0]) is types.GenericAlias
== io.StringIO and io.BytesIO
import io
text = io.StringIO("one\ntwo\n"); text.readline(); raw = io.BytesIO(b"abc"); raw.seek(0, 2); again = raw
--
again.write(b"d")
assert text.readline() == "two\n" and raw.getvalue() == b"abcd" and raw.tell() == 4
== random.Random
import random
dice = random.Random(5); dice.random(); ahead = random.Random(); ahead.setstate(dice.getstate()); expected = [ahead.random() for _ in range(3)]
--
assert [dice.random() for _ in range(3)] == expected
== random.SystemRandom
import random
dice = random.SystemRandom()
--
assert 0 <= dice.random() < 1
== struct.Struct
import struct
packer = struct.Struct("<Hd"); same = packer
--
assert packer.pack(1, 2.0) == struct.pack("<Hd", 1, 2.0) and packer.size == 10 and same is packer
== loggers
import logging
log = logging.getLogger("mine.deep"); top = logging.getLogger(); bound = logging.LoggerAdapter(log, {"a": 1})
--
assert log is logging.getLogger("mine.deep") and top is logging.getLogger() and bound.logger is log
== string.Template and formatters
import string
text = string.Template("$a b"); format = string.Formatter()
--
assert text.substitute(a=1) == "1 b" and format.format("{0}", 2) == "2"
== http cookies and headers of messages
import email.message, http.cookies
message = email.message.EmailMessage(); message["Subject"] = "x"; message.set_content("body"); cookie = http.cookies.SimpleCookie("a=b")
--
assert message["Subject"] == "x" and message.get_content() == "body\n" and cookie["a"].value == "b"
== parsed URLs
from urllib.parse import urlsplit, urlparse
one, two = urlsplit("http://a:1/b?c#d"), urlparse("x:y")
--
assert one.port == 1 and one.geturl() == "http://a:1/b?c#d" and two.scheme == "x"
== element trees
import xml.etree.ElementTree as ET
root = ET.fromstring("<a><b c='1'>t</b></a>"); child = root[0]
--
child.set("c", "2")
assert root[0] is child and ET.tostring(root) == b'<a><b c="2">t</b></a>'
== configparser
import configparser
config = configparser.ConfigParser(); config.read_string("[a]\nb = 1\n")
--
config["a"]["c"] = "2"
assert config.getint("a", "b") == 1 and config["a"]["c"] == "2"
== argparse
import argparse
parser = argparse.ArgumentParser(prog="p"); parser.add_argument("--n", type=int, default=3); known = parser.parse_args(["--n", "4"])
--
assert known.n == 4 and parser.parse_args([]).n == 3
== statistics, calendar and locale-free types
import statistics, calendar, datetime
normal = statistics.NormalDist(1, 2); months = calendar.TextCalendar(6)
--
assert normal.mean == 1 and months.firstweekday == 6
== ast nodes and code objects
import ast
tree = ast.parse("1 + x"); code = compile("a * 2", "<made>", "eval")
--
assert ast.dump(tree) == ast.dump(ast.parse("1 + x")) and eval(code, {"a": 4}) == 8
== os.stat_result, struct_time, terminal size
import os, time
status = os.stat("/"); clock = time.gmtime(0); size = os.terminal_size((3, 4))
--
assert status.st_ino == os.stat("/").st_ino and clock.tm_year == 1970 and size.columns == 3
== queues of the collections kind: heapq lists and bisect keep working
import heapq
heap = [5, 1, 3]; heapq.heapify(heap)
--
assert [heapq.heappop(heap) for _ in range(3)] == [1, 3, 5]
== graphlib
import graphlib
order = graphlib.TopologicalSorter({"a": {"b"}})
--
assert list(order.static_order()) == ["b", "a"]
== built-in functions and bound built-in methods
import math, operator
kept = [len, print, math.sqrt, str.upper, dict.fromkeys, int.__add__, operator.add, type, object]; items = []; add = items.append
--
add(1)
assert items == [1] and kept[0] is len and kept[3]("a") == "A" and kept[5](1, 2) == 3 and kept[4]("a") == {"a": None} and kept[8] is object
== method wrappers and slot wrappers
kept = [object.__repr__, (5).__add__, [].__len__, str.join, "-".join, list.__getitem__]
--
assert kept[1](2) == 7 and kept[2]() == 0 and kept[4](["a", "b"]) == "a-b" and kept[5]([3], 0) == 3
""",
)
