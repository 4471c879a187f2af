"""Frames and plans of polars, whose thread pool a forked child doesn't have."""

import pytest

pytest.importorskip("polars")
pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
USED = (
    "import polars as pl; pl.DataFrame({'k': ['a', 'b'] * 500, 'v': range(1000)}).group_by('k').agg(pl.col('v').sum())"
)


async def lost_of(session):
    """Return what the session's checkpoints could not save."""
    return [event.lost async for event in session.events() if event.kind == "checkpoint.partial"]


async def restored(session, *cells, check):
    """Run cells after polars' thread pool was used, kill the process, and return what the check gives."""
    for code in (USED, *cells):
        outcome = await session.run(code)
        assert outcome.ok, outcome.error
    assert await lost_of(session) == []
    await session.run(KILL)
    outcome = await session.run(check)
    assert outcome.ok, outcome.error
    return outcome.value


ORIGINS = {
    "a literal": "frame = pl.DataFrame({'a': [1, None, 3], 's': ['x', 'a text that is longer than a view', None]})",
    "chunks": "f = pl.DataFrame({'a': list(range(1000)), 's': ['q'] * 1000})\nframe = pl.concat([f] * 50, rechunk=False); del f",
    "a file": "open('x.csv', 'w').write('a,b\\n' + '1,2\\n' * 200_000)\nframe = pl.read_csv('x.csv')",
    "a group": "frame = pl.DataFrame({'g': ['x', 'y'] * 50, 'v': range(100)}).group_by('g', maintain_order=True).agg(pl.col('v'), pl.col('v').sum().alias('n'))",
    "a slice": "frame = pl.DataFrame({'a': range(500_000), 's': ['some text %d' % i for i in range(500_000)]}).slice(400_001, 7)",
    "categories": "frame = pl.DataFrame({'c': pl.Series(['x', 'y', None] * 9, dtype=pl.Categorical), 'e': pl.Series(['u', 'v', 'u'] * 9, dtype=pl.Enum(['u', 'v']))})",
    "nested": "frame = pl.DataFrame({'l': [[1, 2], [], None], 's': [{'a': 1, 'b': ['x']}, {'a': None, 'b': None}, None], 'arr': pl.Series([[1, 2], [3, 4], [5, 6]], dtype=pl.Array(pl.Int8, 2))}).slice(1, 2)",
    "times": "import datetime as dt, decimal\nframe = pl.DataFrame({'d': [dt.date(2020, 1, 1), None], 't': [dt.time(1), None], 'z': pl.Series([dt.datetime(2020, 1, 1), None], dtype=pl.Datetime('ms', 'Europe/Berlin')), 'u': [dt.timedelta(1), None], 'p': pl.Series([decimal.Decimal('1.20'), None], dtype=pl.Decimal(10, 2)), 'i': pl.Series([2**100, None], dtype=pl.Int128), 'b': [b'x', None], 'n': [None, None], 'f': [True, None]})",
    "nothing": "frame = pl.DataFrame({'a': [], 's': []}, schema={'a': pl.Int8, 's': pl.String})",
}


@pytest.mark.parametrize("code", ORIGINS.values(), ids=ORIGINS.keys())
async def test_a_frame_of_any_origin_is_itself_and_works(session, code):
    told = "(str(frame.schema), frame.shape, frame.n_chunks(), str(frame.head(50).to_dicts()), str(frame.tail(50).to_dicts()))"
    assert await restored(
        session,
        f"{code}\nseries = frame.to_series(0); told = {told}",
        check=f"{told} == told and series.equals(frame.to_series(0)) and frame.vstack(frame).height == 2 * frame.height and frame.with_row_index().filter(pl.col('index') >= 0).height == frame.height",
    )


async def test_objects_in_a_frame_are_the_sessions(session):
    make = "class Own: v = 1\none = Own(); frame = pl.DataFrame({'o': pl.Series([one, Own(), None], dtype=pl.Object), 'a': [1, 2, 3]})"

    assert await restored(
        session, make, check="frame['o'][0] is one and type(frame['o'][1]) is Own and frame['o'][2] is None"
    )


async def test_a_plan_sees_variables_that_change_later(session):
    make = """
k = 2
def times(v): return v * k
lazy = pl.DataFrame({'a': [1, 2]}).lazy().select(pl.col('a').map_elements(lambda v: v * k, return_dtype=pl.Int64))
expression = pl.col('a').map_elements(times, return_dtype=pl.Int64); more = expression + 1"""
    check = "k = 5\nframe = pl.DataFrame({'a': [1, 2]}); [lazy.collect()['a'].to_list(), *(frame.select(each)['a'].to_list() for each in (expression, more))]"

    assert await restored(session, make, check=check) == [[5, 10], [5, 10], [6, 11]]
    await session.run("derived = more * 10")
    await session.run(KILL)
    assert (await session.run(check + "; frame.select(derived)['a'].to_list()")).value == [60, 110]


async def test_a_plan_over_many_chunks_which_polars_copies_with_its_threads_is_saved(session):
    make = "f = pl.DataFrame({'a': [1, 2], 's': ['x', 'y']}); lazy = pl.concat([f] * 20, rechunk=False).lazy().filter(pl.col('a') == 1)"

    assert await restored(session, make, check="lazy.collect().height") == 20


async def test_of_a_column_that_is_unchanged_no_byte_is_stored_again(session, cluster):
    await session.run(USED)
    await session.run("frame = pl.DataFrame({f'c{i}': pl.Series(range(i, 200_000 + i)) for i in range(5)})")
    redis, key = cluster._link.redis, cluster._link.keys.blobs(session.id)
    before = set(await redis.hkeys(key))
    await session.run("frame = frame.with_columns(pl.col('c0') + 1)")

    added = set(await redis.hkeys(key)) - before
    assert len(added) <= 6  # one column of 1.6 MB, and the stream that names it; the whole has 20 chunks
    await session.run(KILL)
    assert (await session.run("frame['c0'][0], frame['c4'][0]")).value == (1, 4)


@pytest.mark.parametrize("flags", [(), ("--preload", "polars")])
async def test_sessions_have_threads_of_their_own_where_polars_is_preloaded(shard, start_worker, flags):
    await start_worker(*flags)
    session = shard.session("s")

    assert await restored(session, "frame = pl.DataFrame({'a': [1]})", check=f"{USED}['v'].sum(), frame['a'][0]") == (
        499500,
        1,
    )
