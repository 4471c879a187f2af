"""Keys: the names that other services, operators and the scripts rely on."""

import inspect

import pytest
from redis.crc import key_slot

from skep_shared.broker.keys import Keys

EXPECTED = {
    "session": "p:session:x",
    "cells": "p:session:x:cells",
    "ids": "p:session:x:ids",
    "events": "p:session:x:events",
    "shard": "p:shard",
    "sessions": "p:sessions",
    "sessions_of": "p:tenant:x:sessions",
    "tenants": "p:tenants",
    "tokens": "p:tokens",
    "token": "p:token:x",
    "webhook": "p:webhook:x",
    "webhook_cursors": "p:webhook:x:cursors",
    "webhook_failures": "p:webhook:x:failures",
    "webhook_lease": "p:webhook:x:lease",
    "link_key": "p:link-key",
    "webhooks": "p:webhooks",
    "tenant": "p:tenant:x",
    "resident": "p:tenant:x:resident",
    "rate": "p:tenant:x:rate",
    "cpu": "p:tenant:x:cpu",
    "upkeep": "p:upkeep",
    "workers": "p:workers",
    "waiting": "p:waiting",
    "named": "p:named",
    "worker": "p:worker:x",
    "mailbox": "p:worker:x:mailbox",
    "owned": "p:worker:x:sessions",
    "replies": "p:client:x:replies",
    "wake": "p:client:x:wake",
    "checkpoints": "p:session:x:checkpoints",
    "blobs": "p:session:x:blobs",
    "names": "p:session:x:names",
    "pins": "p:session:x:pins",
    "purged": "p:purged",
    "upload": "p:upload:x",
    "arq_job": "arq:job:x",
    "arq_result": "arq:result:x",
    "arq_queue": "p:arq",
    "arq_wake": "p:arq:wake",
}


def made_by(keys: Keys, name: str, arguments: str = "x") -> str:
    key = getattr(keys, name)
    return key(arguments) if callable(key) else key


def test_every_key_is_listed_here():
    names = {name for name, _ in inspect.getmembers(Keys) if not name.startswith("_")}

    assert names - {"prefix", "scope", "full_id", "short_id", "own_sessions"} == EXPECTED.keys()


@pytest.mark.parametrize(("name", "key"), EXPECTED.items())
def test_a_key_has_its_documented_name(name, key):
    assert made_by(Keys("p"), name) == key


@pytest.mark.parametrize("name", EXPECTED)
def test_a_prefix_in_braces_puts_every_key_into_one_cluster_slot(name):
    assert key_slot(made_by(Keys("{p}"), name, "{p}:x").encode()) == key_slot(b"{p}")


def test_no_two_keys_are_the_same():
    assert len({made_by(Keys("p"), name) for name in EXPECTED}) == len(EXPECTED)


def test_the_default_prefix_is_skep_in_braces():
    assert Keys().workers == "{skep}:workers"
