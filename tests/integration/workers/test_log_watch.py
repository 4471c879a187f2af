"""The watch for texts of sessions in logs finds them."""

import json

import pytest

from ..log_watch import MOST_LINE, LogWatch

pytestmark = pytest.mark.anyio

CODE = 'password = "k2 äöü\\n"'


@pytest.fixture
def watch(tmp_path):
    """A watch of one log; `say` adds a line to the log."""
    watch, log = LogWatch(), tmp_path / "worker.log"
    watch.follow(log)

    def say(line):
        with log.open("a") as out:
            out.write(line + "\n")

    watch.say = say
    yield watch
    watch.close()


@pytest.mark.parametrize("form", [str, repr, json.dumps, lambda code: json.dumps({"error": f"in {code}"})])
def test_code_in_a_log_is_found_however_it_is_written(watch, form):
    watch.note(f"import os\n    {CODE}\n")
    watch.say('{"event":"cell.finished"}')
    watch.check()
    watch.say(form(CODE))

    with pytest.raises(AssertionError, match="password"):
        watch.check()


def test_a_line_that_is_too_long_is_found(watch):
    watch.say("x" * (MOST_LINE + 1))

    with pytest.raises(AssertionError, match="characters in a worker's log"):
        watch.check()


async def test_texts_that_enter_and_leave_sessions_become_markers(log_watch, session):
    number = id(session)
    await session.run(
        f"told = 'as it {number} is'; print(told)\nraise ValueError('because of ' + told)", inputs={"n": "an input"}
    )

    for text in (f"told = 'as it {number} is'; print(told)", f"as it {number} is", f"because of as it {number} is"):
        with pytest.raises(AssertionError, match=str(number)):
            log_watch.check([f"in the log: {text}"])
