"""Variables of the environment: which one gave a value, which ones nothing reads, and what is said of that."""

import pytest

from skep.cli.value_origins import with_origin
from skep_shared.environment import unknown_variables, variable_of
from skep_shared.errors import InvalidArgument
from skep_shared.settings import Settings, WorkerSettings
from skep_workers.host.command_line import parse_arguments

FIELDS = WorkerSettings.model_fields


@pytest.mark.parametrize("name", ["SKEP_LEASE_SECOND", "skep_lease_second", "SKEP_LEASESECONDS"])
def test_a_variable_that_is_no_setting_is_reported_with_the_one_that_may_be_meant(name):
    [sentence] = unknown_variables(FIELDS, {name: "5", "PATH": "/bin", "SKEP_PREFIX": "x"})
    assert sentence == f"{name} in the environment is not a setting and is ignored; did you mean SKEP_LEASE_SECONDS?"


def test_a_variable_like_none_is_told_without_a_guess():
    assert unknown_variables(FIELDS, {"SKEP_QQQ": ""}) == [
        "SKEP_QQQ in the environment is not a setting and is ignored"
    ]


def test_settings_and_what_tests_and_our_own_processes_get_are_known():
    known = {f"SKEP_{field.upper()}": "" for field in FIELDS}
    others = {"SKEP_TEST_REDIS_SERVER": "", "SKEP_SCRATCH": "", "SKEPTIC": "", "skep_prefix": ""}
    assert unknown_variables(FIELDS, known | others) == []


def test_the_variable_of_a_setting_is_named_as_it_is_written():
    assert variable_of("redis_url", {"Skep_Redis_URL": "x"}) == "Skep_Redis_URL"
    assert variable_of("redis_url", {"SKEP_REDIS": "x"}) is None


@pytest.mark.parametrize(
    ("arguments", "origin"),
    [(["--redis", "http://x"], "--redis"), (["--redis=http://x"], "--redis"), ([], "SKEP_REDIS_URL")],
)
def test_a_command_names_the_origin_of_a_value(monkeypatch, arguments, origin):
    monkeypatch.setenv("SKEP_REDIS_URL", "http://y")
    told = with_origin(InvalidArgument("redis_url", "http://x", "redis:// is needed"), ["sessions", *arguments])
    assert told == f"redis_url: 'http://x' is refused: redis:// is needed (given by {origin})"


@pytest.mark.parametrize(
    ("arguments", "environment", "origin"),
    [
        (["--lease-seconds", "0"], {}, "--lease-seconds"),
        ([], {"SKEP_LEASE_SECONDS": "0"}, "SKEP_LEASE_SECONDS"),
        (["--lease-seconds", "0"], {"SKEP_LEASE_SECONDS": "5"}, "--lease-seconds"),
        (["--redis", "http://x", "--lease-seconds", "soon"], {}, "--lease-seconds"),
        (["--worker-labels", "a"], {}, "--worker-labels"),
        ([], {"SKEP_PRELOAD": "numpy"}, "SKEP_PRELOAD"),
        (["--prefix", "a b"], {}, "--prefix"),
    ],
)
def test_a_worker_names_the_origin_of_a_value(monkeypatch, arguments, environment, origin):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgument, match="is refused") as refusal:
        parse_arguments(arguments)
    assert str(refusal.value).endswith(f" (given by {origin})")


def test_a_worker_reads_lists_by_name_from_repeated_flags():
    arguments = ["--detection", "blocking=a.b", "--detection", "blocking=c", "--detection", "not_blocking=d"]
    settings, _ = parse_arguments([*arguments, "--worker-labels", "gpu=yes", "--worker-labels", "zone=a"])

    assert settings.detection == {"blocking": ["a.b", "c"], "not_blocking": ["d"]}
    assert settings.worker_labels == {"gpu": "yes", "zone": "a"}


@pytest.mark.parametrize("flag", ["--detection", "--worker-labels"])
@pytest.mark.parametrize("pair", ["a", "=a"])
def test_a_worker_refuses_a_pair_that_is_none(flag, pair):
    with pytest.raises(InvalidArgument, match="NAME=VALUE is needed"):
        parse_arguments([flag, pair])


@pytest.mark.parametrize("arguments", [["--bogus"], ["--lease-seconds"], ["extra"]])
def test_a_worker_refuses_a_wrong_command_line_in_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as refusal:
        parse_arguments(arguments)

    (line,) = capsys.readouterr().err.splitlines()
    assert refusal.value.code == 2
    assert line.startswith("skep worker: ")
    assert line.endswith(" (see skep worker --help)")


def test_a_default_has_no_origin():
    with pytest.raises(InvalidArgument) as refusal:
        Settings.load(prefix="a b")
    assert with_origin(refusal.value, []).endswith("optionally all within braces")
