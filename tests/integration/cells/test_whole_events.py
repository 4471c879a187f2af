"""Events are complete: each one dumps to JSON, and a value that was not sent as data is flagged."""

import json

import pytest

import skep

pytestmark = pytest.mark.anyio


async def events_of(session):
    return [event async for event in session.events()]


VALUES = ["3.14", "42", "b'\\xff'", "{1: (2, float('nan'))}", "'\\ud800'", "object()", "[2**80, None, {'a': [1.5]}]"]


@pytest.mark.parametrize("code", VALUES)
async def test_every_event_of_a_cell_dumps_to_json(session, code):
    outcome = await session.run(f"print('a\\ud800'); display({{'application/json': float('inf')}}, raw=True)\n{code}")
    events = await events_of(session)

    assert {"output", "display", "result", "cell.finished"} <= {event.kind for event in events}
    for event in events:
        dumped = json.loads(event.model_dump_json())
        assert dumped == event.model_dump(mode="json")
        json.dumps(dumped, allow_nan=False, ensure_ascii=False).encode()
    (result,) = [event for event in events if event.kind == "result"]
    assert repr(result.value) == repr(outcome.value)


async def test_text_with_lone_surrogates_comes_escaped(session):
    outcome = await session.run(
        "import sys\nprint('\\ud800 x')\nprint('y\\udcff', file=sys.stderr)\nraise ValueError('\\ud801')"
    )

    assert "\\ud800 x\n" in outcome.text
    assert "y\\udcff\n" in outcome.text
    assert outcome.error.evalue == "\\ud801"
    (outcome.text + outcome.error.traceback).encode()


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("np.float64(3)", 3.0),
        ("np.float32(0.5)", 0.5),
        ("np.int64(7)", 7),
        ("np.uint8(7)", 7),
        ("np.bool_(True)", True),
        ("np.str_('a')", "a"),
        ("[np.float64(1), {'mean': (np.int32(2),)}]", [1.0, {"mean": (2,)}]),
        ("{np.int64(1): 2}", {1: 2}),
    ],
)
async def test_numpy_scalars_travel_as_numbers(session, code, value):
    outcome = await session.run(f"import numpy as np\n{code}")

    assert outcome.value == value
    assert type(outcome.value) is type(value)
    assert not outcome.value_is_repr


@pytest.mark.parametrize(
    "code",
    ["np.longdouble(1)", "np.datetime64('2020-01-01', 'ns')", "np.timedelta64(5)", "np.arange(3)", "np.complex64(1)"],
)
async def test_a_numpy_scalar_that_equals_no_plain_value_travels_as_its_repr(session, code):
    outcome = await session.run(f"import numpy as np\n{code}")

    assert outcome.value_is_repr
    assert isinstance(outcome.value, str)
    assert outcome.warnings == ()


@pytest.mark.parametrize("code", ["object()", "{1, 2}", "range(3)", "1j"])
async def test_a_value_that_is_no_plain_data_is_flagged(session, code):
    outcome = await session.run(code)

    assert outcome.value_is_repr
    assert outcome.warnings == ()


async def test_plain_values_and_none_are_not_flagged(session):
    for code in ("1", "None", "x = 1", "'text'"):
        assert not (await session.run(code)).value_is_repr


async def test_a_value_over_a_limit_names_it(session):
    outcome = await session.run("'x' * 20_000_000")

    assert outcome.value_is_repr
    assert len(outcome.warnings) == 2
    assert "it has 20000005 bytes, over the limit of 4194304" in outcome.warnings[0]
    assert "its text of 20000002 characters is shortened to the limit of 1048576" in outcome.warnings[1]


@pytest.mark.parametrize("code", ["x = []; x.append(x); x", "x = []\nfor _ in range(200): x = [x]\nx"])
async def test_a_value_that_is_nested_too_deeply_names_the_limit(session, code):
    outcome = await session.run(code)

    assert outcome.value_is_repr
    assert [warning.rpartition(": ")[2] for warning in outcome.warnings] == [
        "nested deeper than 100 levels, or in a cycle"
    ]


async def test_a_display_that_is_cut_is_flagged(session):
    outcome = await session.run("display({'text/html': 'x' * 9_000_000, 'text/plain': 'p'}, raw=True)")

    assert "text/html of 9000000 bytes left out" in outcome.display[0]["text/plain"]
    (warning,) = outcome.warnings
    assert warning == "a display is incomplete: text/html of 9000000 bytes left out, over the limit of 8388608"


async def test_all_variables_are_listed_and_omitted_matches_are_counted(session):
    await session.run("globals().update({f'v{number}': number for number in range(12_000)})")

    assert {variable.name for variable in await session.variables()} == {f"v{number}" for number in range(12_000)}
    completion = await session.complete("v")
    assert (len(completion.matches), completion.left_out) == (500, 12_000 - 500 + 1)  # and `vars`


async def test_a_text_that_is_cut_is_named(session):
    await session.run("def f(): pass\nf.__doc__ = 'x' * 70_000\ndef g(): 'short'")

    assert (await session.inspect("f")).cut == ("doc",)
    assert (await session.inspect("g")).cut == ()


async def test_an_answer_that_is_not_valid_unicode_is_refused(session):
    with pytest.raises(skep.InvalidArgument, match="valid Unicode"):
        await session.answer("\ud800")


async def test_a_cells_events_resume_after_one_that_was_read(session):
    cell = await session.submit("print(1)\nprint(2)\n3")
    whole = [event async for event in cell.events()]
    assert [event.kind for event in whole][-1] == "cell.finished"

    for place, event in enumerate(whole):
        assert [later async for later in cell.events(after=event.id)] == whole[place + 1 :]
    await session.run("print('another')")
    assert [event async for event in session.cell(cell.id).events(after="1-0")] == [
        event for event in whole if event.id != "1-0"
    ]


async def test_a_cells_events_resume_while_it_runs(session, gate, first_output):
    cell = await session.submit(f"print('first', flush=True)\n{gate.wait}\nprint('second')")
    assert await first_output(cell) == "first\n"
    seen = [event.id async for event in session.events()][-1]
    gate.open()

    texts = [event.text async for event in cell.events(after=seen) if event.kind == "output"]
    assert texts == ["second\n"]
    assert (await cell.outcome()).text == "first\nsecond\n"


async def test_an_event_id_of_another_form_is_refused(session):
    cell = await session.submit("1")
    with pytest.raises(skep.InvalidArgument, match="after"):
        await anext(cell.events(after="now"))


async def test_lone_surrogates_in_a_value_are_escaped_and_that_is_flagged(session):
    outcome = await session.run("['\\udcff.txt', {'a\\ud800': ('한', b'\\xed')}]")

    assert outcome.value == ["\\udcff.txt", {"a\\ud800": ("한", b"\xed")}]
    assert not outcome.value_is_repr
    assert outcome.warnings == ("lone surrogates in the result are escaped, because UTF-8 can't represent them",)
    assert (await session.run("'한'")).warnings == ()


async def test_an_error_that_is_cut_is_flagged(session):
    outcome = await session.run("raise ValueError('x' * 300_000)")

    (warning,) = outcome.warnings
    assert "its text of 300000 characters is shortened to 8192, its traceback of" in warning
    assert (await session.run("1 / 0")).warnings == ()
