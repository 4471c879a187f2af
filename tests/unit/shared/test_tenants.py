"""Tenants: their ids, the ids and names of their sessions, and their quotas."""

import pytest

from skep_shared.broker.activation import deferred_job_id
from skep_shared.broker.keys import Keys
from skep_shared.chunks.blobs import Folder
from skep_shared.errors import InvalidArgument, QuotaExceeded
from skep_shared.full_ids import file_name_of, tenant_of
from skep_shared.isolation.tenants import LARGEST, TenantQuotas
from skep_shared.limits import MAX_ID_BYTES, MAX_TENANT_BYTES, check_full_session_id, check_tenant
from skep_shared.settings import Settings

ACME = Keys("p", "acme/")
BAD_TENANTS = {
    "": "1 to 50 bytes",
    "x" * 51: "1 to 50 bytes, this has 51",
    "a/b": "letters, digits",
    "a\nb": "control",
    "a\0b": "control",
    "../x": "letters, digits",
    "a:b": "letters, digits",
    "a,b": "letters, digits",
    "-a": "the first must be",
}


@pytest.mark.parametrize("tenant", BAD_TENANTS)
def test_a_bad_tenant_is_refused(tenant):
    with pytest.raises(InvalidArgument) as caught:
        check_tenant(tenant)

    assert (caught.value.field, caught.value.value) == ("tenant", tenant)
    assert BAD_TENANTS[tenant] in caught.value.limit


@pytest.mark.parametrize("tenant", [tenant for tenant in BAD_TENANTS if "\0" not in tenant])
def test_a_bad_tenant_in_the_environment_is_refused(monkeypatch, tenant):
    monkeypatch.setenv("SKEP_TENANT", tenant)

    with pytest.raises(InvalidArgument) as caught:
        Settings.load()
    assert caught.value.field == "tenant"


@pytest.mark.parametrize("full_id", ["s", "acme/s", "a.b@c/x"])
def test_a_full_id_is_accepted(full_id):
    assert check_full_session_id(full_id) == full_id


@pytest.mark.parametrize("full_id", ["/s", "acme/", "a/b/c", "a b/s", "acme/a b", 7])
def test_a_bad_full_id_is_refused(full_id):
    with pytest.raises(InvalidArgument):
        check_full_session_id(full_id)


def test_a_full_id_has_the_tenant_and_other_ids_have_none():
    assert (tenant_of("acme/s"), tenant_of("s")) == ("acme", "")


def test_the_longest_full_id_is_a_valid_file_name():
    name = file_name_of("t" * MAX_TENANT_BYTES + "/" + "s" * MAX_ID_BYTES)

    assert "/" not in name
    assert len(name) <= 255


def test_the_file_name_of_a_full_id_is_that_of_no_other_session():
    assert file_name_of("acme/s") == "acme,s"
    with pytest.raises(InvalidArgument):
        check_full_session_id("acme,s")


def test_the_chunks_of_a_tenants_session_are_not_in_the_folder_of_a_session_named_like_the_tenant():
    assert str(Folder("acme/7", 5)) == "acme,7/5"
    assert not str(Folder("acme/7", 5)).startswith(str(Folder("acme", 7)))


def test_the_keys_of_a_tenants_client_are_of_its_sessions():
    names = ("session", "cells", "ids", "events", "checkpoints", "blobs", "names", "pins")

    for name in names:
        assert getattr(ACME, name)("s") == getattr(Keys("p"), name)("acme/s")
    assert deferred_job_id(ACME, "s", "c") == deferred_job_id(Keys("p"), "acme/s", "c")
    assert ACME.own_sessions == Keys("p").sessions_of("acme")
    assert Keys("p").own_sessions == Keys("p").sessions


def test_a_full_id_has_a_short_one_within_its_scope():
    assert ACME.full_id("s") == "acme/s"
    assert ACME.short_id("acme/s") == "s"
    assert Keys("p").short_id("acme/s") == "acme/s"


def test_quotas_survive_packing():
    quotas = TenantQuotas(max_resident=5, max_bytes=LARGEST)

    assert TenantQuotas.unpack(quotas.pack()) == quotas
    assert TenantQuotas.unpack(TenantQuotas().pack()) == TenantQuotas()


@pytest.mark.parametrize("value", [-1, 0, 1.5, "5", True, LARGEST + 1])
@pytest.mark.parametrize("quota", TenantQuotas.model_fields)
def test_a_bad_quota_is_refused(quota, value):
    with pytest.raises(InvalidArgument) as caught:
        TenantQuotas.checked(**{quota: value})

    assert (caught.value.field, caught.value.value) == (quota, value)


def test_an_unknown_quota_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        TenantQuotas.checked(max_gpus=5)

    assert caught.value.field == "max_gpus"


@pytest.mark.parametrize(
    ("quota", "retry_after", "remedy"),
    [
        ("cells_a_minute", 2.5, "Try again in 2.5 s"),
        ("cells_a_minute", None, "Submit fewer cells at a time"),
        ("max_pending", None, "Try again when some of its cells have ended"),
        ("max_bytes", None, "Close and purge some of its sessions"),
        ("cpu_seconds_a_day", 60.0, "Try again in 60 s, when the next day begins (UTC)"),
    ],
)
def test_the_error_names_tenant_quota_value_bound_and_remedy(quota, retry_after, remedy):
    text = str(QuotaExceeded("acme", quota, 7, 5, retry_after))

    assert f"tenant 'acme' would exceed its quota {quota}: 7, and the bound is 5" in text
    assert remedy in text
