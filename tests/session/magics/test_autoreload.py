"""%autoreload: modules whose files have changed are reloaded before the next cell."""

import os

import pytest

pytestmark = pytest.mark.anyio

FIRST = """
V = 1
def f(): return 'f1'
class C:
    def m(self): return 'm1'
    def gone(self): return 'here'
    @property
    def p(self): return 'p1'
    @staticmethod
    def s(): return 's1'
"""
SECOND = """
V = 22
def f(x=2): return f'f{x}'
class C:
    def m(self): return 'm2'
    @property
    def p(self): return 'p2'
    @staticmethod
    def s(): return 's2'
    def new(self): return 'new'
"""


@pytest.fixture
async def reloading(session, tmp_path):
    """Return a session that reloads and has imported a module, and a function that rewrites the module."""
    (tmp_path / "own.py").write_text(FIRST)
    await session.run("%load_ext autoreload\n%autoreload 2")
    await session.run("import own\nfrom own import f, C\nc = C()")

    def write(text):
        (tmp_path / "own.py").write_text(text)
        stamp = (
            tmp_path / "own.py"
        ).stat().st_mtime_ns + 1  # two writes may get the same time, because the clock is coarse
        os.utime(tmp_path / "own.py", ns=(stamp, stamp))

    return session, write


async def test_a_module_that_has_changed_is_reloaded(reloading):
    session, write = reloading
    write(SECOND)

    assert await session.value("own.V") == 22


async def test_a_change_to_the_same_size_within_a_second_is_noticed(reloading):
    session, write = reloading
    write(FIRST.replace("V = 1", "V = 2"))

    assert await session.value("own.V") == 2


async def test_objects_imported_from_a_module_are_updated(reloading):
    session, write = reloading
    write(SECOND)

    assert await session.value("f(), C().m(), c.m(), c.p, c.s(), c.new(), isinstance(c, own.C)") == (
        "f2", "m2", "m2", "p2", "s2", "new", True,
    )  # fmt: skip
    assert await session.value("hasattr(c, 'gone')") is False


async def test_a_module_that_fails_to_reload_is_unchanged_and_reported_once(reloading):
    session, write = reloading
    write("V = 5\nraise ValueError('half written')\n")
    cell = await session.run("own.V, f()")

    assert cell.value == (1, "f1")
    assert "autoreload of own failed" in cell.stderr
    assert "half written" in cell.stderr
    assert (await session.run("1")).stderr == ""


async def test_nothing_is_reloaded_when_it_is_off(reloading):
    session, write = reloading
    await session.run("%autoreload off")
    write(SECOND)

    assert await session.value("own.V") == 1
    await session.run("%autoreload now")
    assert await session.value("own.V") == 22


async def test_only_named_modules_are_reloaded_in_mode_1(session, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("V = 1\n")
    await session.run("import two\n%autoreload explicit\n%aimport one")
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("V = 22\n")

    assert await session.value("one.V, two.V") == (22, 1)


async def test_a_module_can_be_excluded(reloading):
    session, write = reloading
    await session.run("%aimport -own")
    write(SECOND)

    assert await session.value("own.V") == 1
    assert "own" in await session.text("%aimport")


async def test_an_unknown_mode_is_refused(session):
    assert (await session.run("%autoreload sometimes")).error.ename == "ValueError"


async def test_the_setting_applies_after_a_restore(open_session):
    session = open_session()
    await session.run("%autoreload 2\nopen('own.py', 'w').write('V = 1\\n')\nimport own")
    await session.hibernate()
    await session.run("own.V")
    await session.files.put("own.py", b"V = 22\n")

    assert (await session.run("own.V")).value == 22


async def test_errors_show_no_frame_of_the_reloading(reloading):
    session, _ = reloading
    cell = await session.run("def f():\n    1 / 0\nf()")

    files = [line.split('"')[1] for line in cell.error.traceback.splitlines() if line.startswith("  File")]
    assert files == ["<cell 3>", "<cell 3>"]


async def test_the_engine_adds_two_finders_for_libraries(session):
    code = (
        "import sys\n[type(finder).__name__ for finder in sys.meta_path if type(finder).__module__.startswith('skep')]"
    )

    assert await session.value(code) == ["_PatchingFinder", "_StandInFinder"]
