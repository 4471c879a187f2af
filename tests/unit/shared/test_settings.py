"""Settings: flags, else the environment, else defaults; a bad one is refused by name."""

import math

import pytest
from pydantic import ValidationError

from skep.gateway.settings import GatewaySettings
from skep.gateway.tokens.identity_settings import IdentitySettings
from skep.gateway.webhooks.settings import WebhookSettings
from skep_shared.environment import variable_of
from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_prefix
from skep_shared.settings import DEFAULT_REDIS_URL, Settings, WorkerSettings


def refused(**overrides) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        WorkerSettings.load(**overrides)
    return caught.value


def test_without_environment_the_defaults_hold():
    settings = WorkerSettings.load()

    assert (settings.redis_url, settings.prefix) == (DEFAULT_REDIS_URL, "{skep}")
    assert settings.lease_seconds == 3.0


def test_the_environment_takes_precedence_over_the_defaults(monkeypatch):
    monkeypatch.setenv("SKEP_LEASE_SECONDS", "1.5")

    assert WorkerSettings.load().lease_seconds == 1.5


def test_a_flag_takes_precedence_over_the_environment(monkeypatch):
    monkeypatch.setenv("SKEP_LEASE_SECONDS", "1.5")

    assert WorkerSettings.load(lease_seconds=2).lease_seconds == 2


def test_a_flag_that_is_none_was_not_given(monkeypatch):
    monkeypatch.setenv("SKEP_PREFIX", "shard1")

    assert Settings.load(prefix=None).prefix == "shard1"


def test_lists_and_maps_are_json_in_the_environment(monkeypatch):
    monkeypatch.setenv("SKEP_PRELOAD", '["numpy", "pandas"]')
    monkeypatch.setenv("SKEP_WORKER_LABELS", '{"gpu": "yes"}')

    settings = WorkerSettings.load()
    assert (settings.preload, settings.worker_labels) == (["numpy", "pandas"], {"gpu": "yes"})


@pytest.mark.parametrize("field", ["preload", "worker_labels"])
def test_a_list_that_is_no_json_is_refused_by_name(monkeypatch, field):
    monkeypatch.setenv(f"SKEP_{field.upper()}", "numpy,pandas")

    error = refused()
    assert (error.field, error.value) == (field, "numpy,pandas")
    assert "JSON" in error.limit


def test_a_producer_ignores_settings_of_workers(monkeypatch):
    monkeypatch.setenv("SKEP_LEASE_SECONDS", "nonsense")

    assert Settings.load().prefix == "{skep}"


def test_a_foreign_variable_is_ignored(monkeypatch):
    monkeypatch.setenv("SKEP_SOMETHING_ELSE", "1")

    with_it = WorkerSettings.load()
    monkeypatch.delenv("SKEP_SOMETHING_ELSE")
    assert with_it == WorkerSettings.load()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lease_seconds", 0.4),
        ("lease_seconds", 301),
        ("lease_seconds", math.nan),
        ("command_timeout_seconds", 0),
        ("connect_timeout_seconds", -1),
        ("block_seconds", 61),
        ("block_seconds", math.inf),
        ("max_connections", 3),
        ("max_pending_cells", 0),
        ("max_resident", 0),
        ("commit_window", 0),
        ("commit_window", 1.5),
        ("flush_ms", -1),
        ("flush_bytes", 1023),
        ("reply_ttl_seconds", 9),
        ("reply_ttl_seconds", math.inf),
        ("reply_ttl_seconds", 1e300),
        ("grace_seconds", math.inf),
        ("start_seconds", 0),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("preload", "numpy"),
        ("detection", {"blokking": ["a.b"]}),
        ("prefix", ""),
        ("prefix", "a:b"),
        ("prefix", "a\nb"),
        ("prefix", "x" * 201),
    ],
)
def test_a_bad_value_is_refused_by_name(field, value):
    error = refused(**{field: value})

    assert error.field == field
    assert error.value is value
    assert error.limit


def test_a_refusal_has_no_repetition():
    with pytest.raises(InvalidArgument) as caught:
        check_prefix("a:b")

    assert str(refused(prefix="a:b")) == str(caught.value)


def test_a_bad_value_in_the_environment_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("SKEP_LEASE_SECONDS", "soon")

    error = refused()
    assert (error.field, error.value) == ("lease_seconds", "soon")


def test_an_unknown_setting_is_refused_by_name():
    assert refused(leese_seconds=3).field == "leese_seconds"


def test_settings_can_not_be_changed():
    settings = Settings.load()

    with pytest.raises(ValidationError, match="frozen"):
        settings.prefix = "other"


@pytest.mark.parametrize(
    ("model", "variable", "value"),
    [
        (WorkerSettings, "SKEP_LEASE_SECONDS", "soon"),
        (WorkerSettings, "SKEP_PRELOAD", "numpy,pandas"),
        (GatewaySettings, "SKEP_GATEWAY_PORT", "99999"),
        (GatewaySettings, "SKEP_GATEWAY_HOSTS", "a.example"),
        (WebhookSettings, "SKEP_GATEWAY_WEBHOOK_CONCURRENCY", "0"),
        (WebhookSettings, "SKEP_GATEWAY_WEBHOOK_INTERNAL", "10.0.0.0/8"),
        (IdentitySettings, "SKEP_GATEWAY_JWT_KEYS_SECONDS", "0"),
        (IdentitySettings, "SKEP_GATEWAY_JWT_RIGHTS", "run"),
    ],
)
def test_a_refused_setting_of_each_kind_leads_to_its_variable(monkeypatch, model, variable, value):
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidArgument) as caught:
        model.load()

    error = caught.value
    assert (variable_of(error.field), error.value) == (variable, value)
    assert error.limit


def test_checks_of_several_settings_together_name_the_one_to_change():
    with pytest.raises(InvalidArgument) as caught:
        IdentitySettings.load(jwks_url="https://id.example/keys", audience="skep")

    assert (caught.value.field, caught.value.value) == ("gateway_jwt_issuer", "")


@pytest.mark.parametrize("model", [Settings, WorkerSettings, GatewaySettings, WebhookSettings, IdentitySettings])
def test_every_setting_is_described(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []
