"""What a webhook may ask for, its signatures, and when deliveries are repeated."""

import base64
import hashlib
import hmac

import pytest

from skep.gateway.webhooks.definition import EVENT_KINDS, Webhook, WebhookSpec
from skep.gateway.webhooks.delivery import Answer
from skep.gateway.webhooks.retries import Failure, next_failure, why_disabled
from skep.gateway.webhooks.settings import WebhookSettings
from skep.gateway.webhooks.signature import check_secret, message_id_of, new_secret, signed_headers
from skep.gateway.webhooks.store import cursor_text, read_cursor
from skep_shared.errors import InvalidArgument

SPEC = {"url": "https://example.org/hook", "events": ["cell.finished"]}
SETTINGS = WebhookSettings(first_retry_seconds=5, longest_retry_seconds=3600, retry_seconds=7200)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": ""}, "url"), ({"url": "ftp://example.org/"}, "url"), ({"url": "https://"}, "url"),
        ({"url": "https://example.org/" + "x" * 2000}, "url"), ({"url": "https://exämple.org/"}, "url"),
        ({"url": "https://user:word@example.org/"}, "url"), ({"url": "https://example.org/#f"}, "url"),
        ({"url": "https://example.org:99999/"}, "url"), ({"url": "https://example.org/\r\nx: y"}, "url"),
        ({"url": "https://[::1/"}, "url"), ({"url": "https://example.org\\@evil.org/"}, "url"), ({"url": 7}, "url"),
        ({"url": "/hook"}, "url"), ({"events": []}, "events"), ({"events": ["bogus"]}, "events"), ({"events": "*"}, "events"),
        ({"events": ["*"] * 100}, "events"), ({"labels": {"a": 1}}, "labels.a"), ({"labels": {"a": "x" * 300}}, "labels"),
        ({"prefix": "a b"}, "prefix"), ({"prefix": "x" * 201}, "prefix"), ({"prefix": "a/b/c"}, "prefix"),
        ({"secret": "short"}, "secret"), ({"secret": "whsec_"}, "secret"), ({"secret": "whsec_é"}, "secret"),
        ({"secret": "whsec_QUJD"}, "secret"), ({"secret": "whsec_" + "QUJD" * 40}, "secret"), ({"secret": 7}, "secret"),
        ({"more": 1}, "more"),
    ],
)  # fmt: skip
def test_a_bad_definition_is_refused_by_field(change, field):
    with pytest.raises(InvalidArgument) as caught:
        WebhookSpec.checked(SPEC | change)

    assert caught.value.field == field


@pytest.mark.parametrize("missing", ["url", "events"])
def test_a_field_that_is_needed_is_named(missing):
    with pytest.raises(InvalidArgument) as caught:
        WebhookSpec.checked({name: value for name, value in SPEC.items() if name != missing})

    assert caught.value.field == missing


def test_a_refused_secret_is_not_shown():
    for secret in ("topsecret", "whsec_topsecret!"):
        with pytest.raises(InvalidArgument) as caught:
            WebhookSpec.checked(SPEC | {"secret": secret})
        assert "topsecret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_every_kind_of_event_can_be_asked_for():
    assert WebhookSpec.checked(SPEC | {"events": ["*", *EVENT_KINDS]}).events[0] == "*"
    assert {"cell.finished", "output", "session.closed"} <= EVENT_KINDS


def make(tenant="acme", before=None, **spec):
    return Webhook.make("hook", tenant, WebhookSpec.checked(SPEC | spec), before, now_ms=1000)


def test_a_replaced_webhook_keeps_its_secret_and_its_age():
    first = make()
    second = Webhook.make("hook", "acme", WebhookSpec.checked(SPEC), first, now_ms=2000)

    assert (second.secret, second.created_at_ms) == (first.secret, 1000)
    assert second.generation != first.generation
    assert first.secret not in repr(first)
    assert Webhook.model_validate_json(first.model_dump_json()) == first


def test_a_webhook_chooses_sessions_by_tenant_prefix_and_labels():
    webhook = make(prefix="user-", labels={"app": "x"})

    assert [webhook.wants_session(each) for each in ("acme/user-1", "user-1", "acme/other", "acme2/user-1")] == [
        True, False, False, False,
    ]  # fmt: skip
    assert make(tenant=None, prefix="acme/u").wants_session("acme/user-1")
    assert webhook.has_labels({"app": "x", "more": "y"})
    assert not webhook.has_labels({"app": "y"})
    assert webhook.wants_kind("cell.finished")
    assert webhook.wants_kind("events.trimmed")
    assert not webhook.wants_kind("output")


def test_a_signature_is_that_of_standard_webhooks():
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'

    headers = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", body, at=1614265330.9)

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_new_secret_is_one_that_is_accepted():
    secret = new_secret()

    assert check_secret(secret) == secret
    assert secret != new_secret()
    signed = signed_headers(secret, "m", b"x", at=1)["webhook-signature"]
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert signed == "v1," + base64.b64encode(hmac.new(key, b"m.1.x", hashlib.sha256).digest()).decode()


def test_the_id_of_a_message_is_that_of_its_event():
    assert message_id_of("acme/h", "s", 1, b"x") == message_id_of("acme/h", "s", 1, b"x")
    others = [("acme/i", "s", 1, b"x"), ("acme/h", "t", 1, b"x"), ("acme/h", "s", 2, b"x"), ("acme/h", "s", 1, b"y")]
    assert len({message_id_of(*each) for each in [*others, ("acme/h", "s", 1, b"x")]}) == 5


def test_pauses_double_up_to_the_longest():
    failure, pauses = None, []
    for _ in range(12):
        failure = next_failure(7, Answer("no"), failure, SETTINGS, now=1000.0, jitter=max)
        pauses.append(failure.next_at - 1000)

    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert (failure.attempts, failure.first_at, failure.event) == (12, 1000, 7)


def test_pauses_differ_by_chance():
    pauses = {next_failure(7, Answer("no"), None, SETTINGS, now=0.0).next_at for _ in range(20)}

    assert len(pauses) > 1
    assert all(2.5 <= pause <= 5 for pause in pauses)


def test_the_receiver_may_ask_for_a_longer_pause_within_the_bound():
    def asked(seconds):
        answer = Answer("no", retry_after_seconds=seconds)
        return next_failure(7, answer, None, SETTINGS, now=0.0, jitter=max).next_at

    assert (asked(60), asked(1), asked(1e9)) == (60, 5, 3600)


def test_another_event_is_counted_from_its_first_try():
    before = Failure(7, 9, 0.0, 0.0, "no")

    assert next_failure(8, Answer("no"), before, SETTINGS, now=50.0).attempts == 1
    assert next_failure(7, Answer("no"), before, SETTINGS, now=50.0).attempts == 10


def test_a_webhook_is_disabled_after_a_bounded_time_or_when_the_receiver_is_gone():
    failure = Failure(7, 9, 100.0, 0.0, "it answered 500")

    assert why_disabled("s", failure, Answer("no"), SETTINGS, now=7299.0) == ""
    assert why_disabled("s", failure, Answer("no"), SETTINGS, now=7300.0) == (
        "event 7-0 of session 's' was not accepted for 2.0 h, in 9 tries; the last time it answered 500"
    )
    assert "wants no more" in why_disabled("s", failure, Answer("it answered 410", is_gone=True), SETTINGS, now=100.0)


def test_a_failure_is_read_again():
    failure = Failure(7, 9, 100.5, 200.5, "it answered 500: „no“")

    assert Failure.unpack(failure.pack()) == failure
    for packed in (b"", b"{}", b"[]", b'{"event": 1}', b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011 - any of its kinds
            Failure.unpack(packed)


@pytest.mark.parametrize(
    ("stored", "number"),
    [(b"7:1000", 7), (b"7:999", 0), (None, 0), (b"", 0), (b"x:1000", 0), (b"7", 0)],
)
def test_a_cursor_counts_for_the_session_that_it_was_stored_for(stored, number):
    assert read_cursor(stored, 1000) == number
    assert read_cursor(cursor_text(7, 1000).encode(), 1000) == 7


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"internal": ["8.8.8.0/24"]}, "internal"),
        ({"internal": ["x"]}, "internal"),
        ({"lease_seconds": 0}, "lease_seconds"),
    ],
)
def test_a_bad_setting_is_refused(given, field):
    with pytest.raises(InvalidArgument) as caught:
        WebhookSettings.load(**given)
    assert caught.value.field.startswith(f"gateway_webhook_{field}")
