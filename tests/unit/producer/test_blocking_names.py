"""`skep.sync` has the names, arguments, defaults and results of the asynchronous client, and users see their types."""

import inspect
import subprocess
import sys
import typing
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import skep
import skep.sync
from skep.local.embedded import WorkerProcess

ASYNC = {
    name: getattr(skep, name, WorkerProcess)
    for name in ("Cell", "Cluster", "EmbeddedCluster", "Session", "SessionFiles", "WorkerProcess")
}
BLOCKING = {each: getattr(skep.sync, name) for name, each in ASYNC.items()}
MEMBERS = [
    (name, member)
    for name, each in ASYNC.items()
    for member in sorted({*vars(each), *typing.get_type_hints(each)})
    if not member.startswith("_") and member != "python"  # the interpreter of workers, of the class itself
]
OPENINGS = {"connect": skep.Cluster, "embedded": skep.EmbeddedCluster}


def blocking(annotation: object) -> object:
    """Return the annotation of a blocking method for one of an asynchronous method."""
    if isinstance(annotation, str):
        return annotation
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is AsyncIterator:
        return skep.sync.Reading[arguments]
    if origin is list:
        return list[BLOCKING.get(arguments[0], arguments[0])]
    return BLOCKING.get(annotation, annotation)


def signature(function: object) -> tuple[list[tuple[str, object, object]], dict[str, object]]:
    """Return the parameters of a function with kinds and defaults, and its resolved annotations."""
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters], typing.get_type_hints(function)


@pytest.mark.parametrize(("name", "member"), MEMBERS, ids=lambda each: each)
def test_a_member_has_the_same_signature(name, member):
    asynchronous, found = getattr(ASYNC[name], member), getattr(getattr(skep.sync, name), member)
    if isinstance(asynchronous, property):
        assert isinstance(found, property)
        asynchronous, found = asynchronous.fget, found.fget
    parameters, hints = signature(asynchronous)

    assert signature(found) == (parameters, {key: blocking(value) for key, value in hints.items()})
    assert not inspect.iscoroutinefunction(found)


@pytest.mark.parametrize("name", ASYNC)
def test_a_class_has_no_further_public_names(name):
    own = {each for each in vars(getattr(skep.sync, name)) if not each.startswith("_")}
    attributes = {"Session": {"id", "files"}, "EmbeddedCluster": {"worker_processes"}, "WorkerProcess": {"worker_id"}}

    assert own == {member for each, member in MEMBERS if each == name} | attributes.get(name, set())


@pytest.mark.parametrize("name", OPENINGS)
def test_a_cluster_is_opened_with_the_same_arguments(name):
    parameters, hints = signature(getattr(skep, name))
    found, found_hints = signature(getattr(skep.sync, name))

    assert found == parameters
    assert found_hints.pop("return") == skep.sync.Opening[BLOCKING[OPENINGS[name]]]
    assert found_hints == {key: value for key, value in hints.items() if key != "return"}


def test_everything_exported_is_sorted_and_found():
    assert skep.sync.__all__ == sorted(skep.sync.__all__, key=lambda name: (name.islower(), name))
    assert [name for name in skep.sync.__all__ if not hasattr(skep.sync, name)] == []


USER = """
from typing import assert_type

import skep
import skep.sync

with skep.sync.connect("redis://127.0.0.1/0", tenant="acme") as cluster:
    assert_type(cluster, skep.sync.Cluster)
    session = cluster.session("s", options=skep.SessionOptions())
    assert_type(session, skep.sync.Session)
    assert_type(session.run("1", wait=5, inputs={"x": 1}), skep.Outcome)
    cell = session.submit("1", cell_id="c", timeout=3)
    assert_type(cell, skep.sync.Cell)
    assert_type(session.submit_many(["1", {"code": "2"}]), list[skep.sync.Cell])
    assert_type(cell.seq, int | None)
    for event in cell.events():
        assert_type(event, skep.Event)
    for info in cluster.sessions():
        assert_type(info, skep.SessionInfo)
    assert_type(session.files.get("x"), bytes)
    assert_type(session.fork("t"), skep.sync.Session)
    session.run(1)  # WRONG
    session.submit("1", colour="red")  # WRONG
with skep.sync.embedded(workers=2) as own:
    assert_type(own, skep.sync.EmbeddedCluster)
    assert_type(own.redis_url, str)
"""


def test_a_user_s_type_checker_sees_every_signature(tmp_path):
    script = tmp_path / "user.py"
    script.write_text(USER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", script],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"MYPYPATH": ":".join(str(Path(__file__).parents[3] / each) for each in ("producer", "shared"))},
    )  # fmt: skip
    lines = [line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line]

    assert lines == [str(number) for number, line in enumerate(USER.splitlines(), 1) if "WRONG" in line], done.stdout
