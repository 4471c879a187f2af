"""Modules of the session's own: names in them that can't be saved are reported, and cost nothing else."""

import pytest

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
MANY = "".join(f"def f{number}(a, b={number}):\n    return a + b\n" for number in range(1000))


async def events(session, kind):
    """Return the events of a kind that the session has had."""
    return [event async for event in session.events() if event.kind == kind]


async def test_a_name_in_a_module_that_can_not_be_saved_is_reported_and_costs_only_itself(session):
    await session.run(
        "open('helper.py', 'w').write('LEVEL = 1\\ndef q(): return conn\\n')\n"
        "import helper, sqlite3\nhelper.conn = sqlite3.connect(':memory:'); helper.LEVEL = 3; x = [1]"
    )
    await session.run(KILL)

    assert (await session.run("(helper.LEVEL, x)")).value == (3, [1])
    partial = (await events(session, "checkpoint.partial"))[0]
    assert list(partial.lost) == ["helper.conn"]
    assert "sqlite3.Connection" in partial.lost["helper.conn"]


@pytest.mark.parametrize("use", ["helper.conn", "helper.q()"])
async def test_reading_a_lost_name_of_a_module_reports_the_loss(session, use):
    await session.run(
        "open('helper.py', 'w').write('def q(): return conn\\n')\n"
        "import helper, sqlite3\nhelper.conn = sqlite3.connect(':memory:')"
    )
    await session.run(KILL)

    outcome = await session.run(use)
    assert "it was lost after checkpoint 1-0" in outcome.error.evalue


async def test_a_module_that_opens_a_connection_itself_is_imported_again_and_nothing_is_reported(session):
    await session.run(
        "open('db.py', 'w').write('import sqlite3\\nconn = sqlite3.connect(\":memory:\")\\nSEEN = []\\n')\n"
        "import db\nfrom db import SEEN\nSEEN.append(1); db.level = 5"
    )
    await session.run(KILL)

    checked = "[db.conn.execute('select 7').fetchone()[0], db.SEEN is SEEN, SEEN, db.level]"
    assert (await session.run(checked)).value == [7, True, [1], 5]
    assert await events(session, "checkpoint.partial") == []


async def test_a_module_that_opens_a_connection_and_was_edited_since_is_not_imported_again(session):
    await session.run(
        "open('db.py', 'w').write('import sqlite3\\nconn = sqlite3.connect(\":memory:\")\\ndef old(): return 1\\n')\n"
        "import db"
    )
    await session.run("open('db.py', 'w').write('def new(): return 2\\n')")
    await session.run(KILL)

    assert (await session.run("(db.old(), hasattr(db, 'new'), hasattr(db, 'conn'))")).value == (1, False, False)
    assert list((await events(session, "checkpoint.partial"))[0].lost) == ["db.conn"]


async def test_a_submodule_that_can_not_be_imported_again_is_a_note_and_costs_no_variable(session):
    # The environment no longer has it, as if the next worker had an older release.
    await session.run(
        "import sys, tempfile, pathlib, importlib.util\n"
        "here = pathlib.Path(importlib.util.find_spec('xml').submodule_search_locations[0])\n"
        "import xml\nmodule = type(sys)('xml.gone_mine'); module.__spec__ = importlib.util.spec_from_loader('xml.gone_mine', xml.__spec__.loader, origin=str(here / 'gone_mine.py'))\n"
        "module.__spec__.has_location = True; module.__spec__.origin = str(here / 'gone_mine.py')\n"
        "sys.modules['xml.gone_mine'] = module; vars(xml)['gone_mine'] = module; del module, here; x = [1]"
    )
    await session.run("import xml.gone_mine")
    await session.run(KILL)

    assert (await session.run("(x, xml.__name__)")).value == ([1], "xml")
    restored = (await events(session, "session.restored"))[-1]
    assert any("xml.gone_mine could not be imported again" in note for note in restored.notes)


async def test_changes_to_a_library_that_can_not_be_saved_are_reported_by_their_names(session):
    await session.run("import json, sqlite3\njson.conn = sqlite3.connect(':memory:'); json.level = 3")
    await session.run(KILL)

    assert (await session.run("(json.level, hasattr(json, 'conn'))")).value == (3, False)
    partial = (await events(session, "checkpoint.partial"))[0]
    assert list(partial.lost) == ["json.conn"]


async def test_modules_that_c_extensions_make_are_not_reported(session):
    pytest.importorskip("numpy")
    await session.run("import numpy, numpy.random; x = 1")
    await session.run(KILL)

    assert (await session.run("[x, [name for name in globals() if 'skep' in name]]")).value == [1, []]
    assert await events(session, "checkpoint.partial") == []


async def test_a_thousand_functions_in_a_module_cost_a_cell_no_fork(session):
    await session.run(
        "import os\nforks = []\nos.register_at_fork(before=lambda: forks.append(1))\n"
        f"open('many.py', 'w').write({MANY!r})\nimport many; held = [1]"
    )
    await session.run("held.append(2)")
    before = (await session.run("len(forks)")).value
    await session.run("held.append(3)")
    await session.run("held.append(4)")

    assert (await session.run("len(forks)")).value == before
    await session.run(KILL)
    assert (await session.run("(many.f999(1), held)")).value == (1000, [1, 2, 3, 4])
