"""The error tree: what its docstring draws is what there is, and every error survives a process boundary."""

import copy
import inspect
import pickle
import re

import pytest

from skep_shared import errors

CELL = ("s", "c", "failed", "ValueError", "bad", "Traceback: …")

EXAMPLES = [
    errors.SkepError("text"),
    errors.InvalidArgument("session_id", "", "1 to 200 bytes"),
    errors.RedisUnavailable("redis://localhost:6379/0", "refused"),
    errors.RedisRefused("redis://localhost:6379/0", "no permissions", "grant them"),
    errors.RedisUnsuitable("version", "5.0.7", "6.2 or newer", "upgrade"),
    errors.RedisFull("OOM command not allowed"),
    errors.SignatureRefused("cell 'c' of session 's'", "it is not signed"),
    errors.StoreUnavailable("s3://bucket", "no answer within 30 s"),
    errors.IdentityUnavailable("https://id.example.org/keys", "no answer within 5 s"),
    errors.BacklogFull("s", 10_000, 10_000),
    errors.RateExceeded("s", 2, 60, 0.5),
    errors.QuotaExceeded("acme", "cells_a_minute", 601, 600, 0.1),
    errors.SessionClosed("s"),
    errors.NotFound("cell", "c"),
    errors.EventsTrimmed("s", "c", 3, 17),
    errors.CellForgotten("s", "c", 7, 5),
    errors.ClientUnusable("it has been closed"),
    errors.WaitTimeout("the outcome of cell 'c'", 2.5),
    errors.OperationFailed("it took over 5 s"),
    errors.StartError("the zygote", "exit status 1"),
    errors.CellError(*CELL),
    errors.CellFailed(*CELL),
    errors.CellInterrupted(*CELL),
    errors.CellTimedOut(*CELL),
    errors.CellCancelled(*CELL),
    errors.CellLost(*CELL),
    errors.SessionCrashed(*CELL),
    errors.ProtocolError("text"),
    errors.FrameTooLarge(17, 16),
    errors.MalformedFrame("not msgpack"),
    errors.VersionMismatch(2, 1),
    errors.IllegalTransition("resident", "released", "start"),
    errors.Fenced("s", 3),
    errors.EventGap("s", 5, 3),
]


def drawn_tree() -> dict[str, tuple[str, ...]]:
    """Read class -> bases from the drawing in the module's docstring."""
    bases: dict[str, tuple[str, ...]] = {"SkepError": ("Exception",)}
    path = ["SkepError"]
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"((?:│   |    )*)[├└]── (\w+)(?: \((\w+)\))?", line)
        if branch:
            indent, name, second = branch.groups()
            path[len(indent) // 4 + 1 :] = [name]
            bases[name] = (path[-2], second) if second else (path[-2],)
    return bases


def test_the_drawn_tree_is_the_tree_of_classes():
    classes = {
        name: tuple(base.__name__ for base in cls.__bases__)
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.SkepError)
    }

    assert drawn_tree() == classes


def test_every_class_has_an_example_here():
    assert {type(error).__name__ for error in EXAMPLES} == drawn_tree().keys()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_whole(error, protocol):
    restored = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes

    assert type(restored) is type(error)
    assert (restored.args, vars(restored), str(restored)) == (error.args, vars(error), str(error))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_can_be_copied(error):
    assert vars(copy.copy(error)) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_the_text_shows_every_field_that_a_user_needs(error):
    hidden = {"value"}  # as its repr
    for name, value in vars(error).items():
        if name not in hidden:
            assert str(value) in str(error), name


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.InvalidArgument("f", 1, "l"), ValueError),
        (errors.RedisUnavailable("u", "r"), ConnectionError),
        (errors.NotFound("session", "s"), LookupError),
        (errors.ClientUnusable("r"), RuntimeError),
        (errors.WaitTimeout("it", 1), TimeoutError),
    ],
)
def test_an_error_is_caught_as_the_builtin_it_is_like(error, builtin):
    with pytest.raises(builtin):
        raise error


def test_a_long_value_is_shortened_in_the_text_and_kept_in_the_field():
    error = errors.InvalidArgument("code", "x" * 5000, "at most 4000 bytes")

    assert len(str(error)) < 200
    assert "5002 characters" in str(error)
    assert error.value == "x" * 5000


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize("value", [Unprintable(), 10**5000], ids=["raises in repr", "too many digits"])
def test_a_value_that_can_not_be_shown_is_named_by_its_type(value):
    text = str(errors.InvalidArgument("timeout", value, "a number is needed"))

    assert text.startswith("timeout: ")
    assert type(value).__name__ in text
    assert text.endswith("a number is needed")


@pytest.mark.parametrize(
    ("ename", "evalue", "traceback", "text"),
    [
        ("ValueError", "bad", "", "cell 'c' of session 's' timed out: ValueError: bad"),
        ("ValueError", "", "", "cell 'c' of session 's' timed out: ValueError"),
        ("", "", "", "cell 'c' of session 's' timed out"),
        ("ValueError", "bad", "line 1", "cell 'c' of session 's' timed out: ValueError: bad\nline 1"),
    ],
)
def test_a_cell_error_includes_the_known_details(ename, evalue, traceback, text):
    assert str(errors.CellTimedOut("s", "c", "timed_out", ename, evalue, traceback)) == text
