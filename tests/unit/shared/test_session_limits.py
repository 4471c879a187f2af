"""The limits of a session: what is accepted, what applies, and how they are stored."""

import pydantic
import pytest

from skep_shared.errors import InvalidArgument
from skep_shared.isolation.session_limits import Excess, Limits, lowest
from skep_shared.models import OwnerFacts, SessionInfo, SessionOptions
from skep_shared.settings import Settings, WorkerSettings

MIB = 1024 * 1024


def test_without_limits_none_applies():
    assert all(limit is None for _, limit in Limits())


@pytest.mark.parametrize(("first", "second", "expected"), [(1, 2, 1), (2, 1, 1), (None, 2, 2), (1, None, 1)])
def test_the_lower_one_of_two_limits_applies(first, second, expected):
    assert lowest(first, second) == expected


def test_without_two_limits_none_applies():
    assert lowest(None, None) is None


def test_limits_are_lowered_to_the_maxima():
    limits = Limits(memory_bytes=64 * MIB, cpu_seconds=9)
    maxima = Limits(memory_bytes=128 * MIB, cpu_seconds=2, processes=20)

    assert limits.lowered_to(maxima) == Limits(memory_bytes=64 * MIB, cpu_seconds=2, processes=20)


def test_a_limit_above_its_maximum_is_refused_by_name():
    with pytest.raises(InvalidArgument) as caught:
        Limits(processes=50).check_within(Limits(processes=20, open_files=64))

    assert (caught.value.field, caught.value.value) == ("limits.processes", 50)
    assert "20" in caught.value.limit


def test_a_limit_at_its_maximum_is_accepted():
    Limits(processes=20).check_within(Limits(processes=20))


@pytest.mark.parametrize("name", Limits.model_fields)
def test_no_limit_can_be_zero(name):
    with pytest.raises(pydantic.ValidationError):
        Limits(**{name: 0})


def test_an_unknown_limit_is_refused():
    with pytest.raises(pydantic.ValidationError):
        Limits(disk_bytes=MIB)


def test_options_without_limits_are_stored_without_them():
    assert SessionOptions(limits=Limits()).pack() == SessionOptions().pack()


def test_limits_survive_storing():
    options = SessionOptions(limits=Limits(cpu_seconds=1.5, pending_cells=7))

    assert SessionOptions.unpack(options.pack()) == options


def test_a_limit_of_a_newer_version_is_ignored():
    stored = SessionOptions(limits=Limits(processes=20)).pack().replace(b"processes", b"newlimits")

    assert SessionOptions.unpack(stored).limits == Limits()


def test_a_setting_gives_each_maximum(monkeypatch):
    monkeypatch.setenv("SKEP_LIMITS_MEMORY_BYTES", str(64 * MIB))
    settings = WorkerSettings.load(limits_cells_per_minute=60, state_bytes=MIB, max_pending_cells=9)

    assert settings.limits == Limits(memory_bytes=64 * MIB, cells_per_minute=60, checkpoint_bytes=MIB, pending_cells=9)


def test_a_client_has_no_maximum_for_checkpoints():
    assert Settings.load().limits.checkpoint_bytes is None


def test_a_maximum_that_is_too_low_is_refused_by_name():
    with pytest.raises(InvalidArgument) as caught:
        WorkerSettings.load(limits_open_files=3)

    assert (caught.value.field, caught.value.value) == ("limits_open_files", 3)


def test_a_session_has_the_lower_one_of_its_limit_and_the_maximum():
    packed = SessionOptions(limits=Limits(processes=20)).pack()

    info = SessionInfo.from_hash(
        "s",
        {b"state": b"open", b"options": packed},
        facts=OwnerFacts(limits=Limits(processes=18, cpu_seconds=1)),
    )

    assert info.limits == Limits(processes=18, cpu_seconds=1)


def test_an_excess_names_the_limit_and_both_values():
    text = str(Excess("memory_bytes", 2_000_000, 1_000_000))

    assert text == "it ran into its limit memory_bytes of 1,000,000: it used 2,000,000"
