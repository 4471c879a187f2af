"""Checks of a session's options: what they accept can be applied, and what they refuse is named without a secret."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep_shared.broker.submission import pack_options
from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_id_prefix, check_path
from skep_shared.models import SessionOptions
from skep_shared.option_checks import MAX_ENV_BYTES, check_env
from skep_shared.settings import Settings

SECRET = "5ecret-of-this-test"
TEXTS = st.text(max_size=20) | st.sampled_from(["A", "A_1", "1A", "", "A=B", "A\0", "\ud800", SECRET])
ANYTHING = TEXTS | st.none() | st.integers() | st.binary(max_size=5) | st.lists(st.integers(), max_size=2)
SETTINGS = Settings()


def is_accepted(check, *arguments, **options):
    """Return whether a check accepts this; it raises nothing else than InvalidArgument."""
    refusal = None
    try:
        check(*arguments, **options)
    except InvalidArgument as exc:
        refusal = exc
    assert refusal is None or (refusal.field and refusal.limit in str(refusal))
    return refusal is None


@given(st.dictionaries(TEXTS, TEXTS, max_size=4))
def test_accepted_variables_can_be_those_of_a_process(env):
    if is_accepted(check_env, env):
        before = dict(os.environ)
        try:
            os.environ.update(env)
            assert {name: os.environ[name] for name in env} == env
        finally:
            os.environ.clear()
            os.environ.update(before)


def test_as_many_variables_as_are_accepted_can_be_passed_to_a_program():
    env = {f"N{number:05}": "x" * 10 for number in range(MAX_ENV_BYTES // 16)}
    check_env(env)

    code = "import os; print(sum(name.startswith('N') for name in os.environ))"
    counted = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
    assert int(counted) == len(env)


@given(st.dictionaries(TEXTS, ANYTHING, max_size=3), TEXTS)
def test_a_refusal_has_no_value(env, name):
    env |= {name: SECRET, "LAST": 7}
    if SECRET in name.partition("=")[0] or any(SECRET in each.partition("=")[0] for each in env):
        return  # it is the name of a variable
    with pytest.raises(InvalidArgument) as caught:
        pack_options(SessionOptions(env=env), SETTINGS)

    assert SECRET not in f"{caught.value} {caught.value.args!r}"


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("labels", "env", "cwd", "idle_seconds", "expires_in"), ANYTHING))
)
def test_options_of_any_kind_are_accepted_or_refused(options):
    accepted = []

    def check():
        accepted.append(SessionOptions(**options))
        pack_options(accepted[0], SETTINGS)

    if is_accepted(check):
        assert SessionOptions.unpack(pack_options(accepted[0], SETTINGS)) == accepted[0]


@given(st.lists(st.sampled_from(["a", "..", ".", "", "é", "x" * 256, "\0", "~"]), max_size=4).map("/".join))
def test_an_accepted_path_stays_below_its_directory(path):
    if is_accepted(check_path, "cwd", path):
        assert os.path.normpath(f"/home/{path}") == f"/home/{path}"


@given(ANYTHING | st.sampled_from(["acme/", "acme/u", "user-", "a/b/c", "x" * 300]), st.booleans())
def test_a_prefix_of_any_kind_is_accepted_or_refused(prefix, has_tenant):
    if is_accepted(check_id_prefix, prefix, has_tenant=has_tenant):
        assert prefix.count("/") <= (not has_tenant)
