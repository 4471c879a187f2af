"""Which files sessions of tier `basic` may use."""

import os
import sys

import pytest

from skep_shared.errors import StartError
from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.sandbox.file_access import CHANGE, READ, check_rules, is_below, shared_rules
from skep_workers.sandbox.kernel.landlock import Right
from skep_workers.sandbox.policy import SandboxPolicy

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where the C library keeps it


def rights_to(path, policy=None):
    """Return the rights that the rules contain for a path."""
    rules = shared_rules(policy or SandboxPolicy(Tier.BASIC))
    found = Right(0)
    for rule in rules:
        if is_below(os.path.realpath(path), os.path.realpath(rule.path)):
            found |= rule.rights
    return found


@pytest.mark.parametrize(
    "path", ["/usr/bin/env", "/etc/passwd", "/etc/ssl/certs", "/proc/self", os.__file__, sys.executable]
)
def test_the_system_and_python_are_readable_only(path):
    assert rights_to(path) == READ


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/ssl/private", "/root", "/home", "/run", "/var", "/"])
def test_nothing_else_is(path):
    assert rights_to(path) == 0


def test_in_shared_memory_names_cannot_be_listed():
    assert rights_to(SHARED_MEMORY) & Right.WRITE_FILE
    assert not rights_to(SHARED_MEMORY) & (Right.READ_DIR | Right.MAKE_DIR)


def test_operators_open_paths_to_read_or_to_change(tmp_path):
    policy = SandboxPolicy(Tier.BASIC, (str(tmp_path / "data"),), (str(tmp_path / "shared"),))

    assert rights_to(tmp_path / "data", policy) == READ
    assert rights_to(tmp_path / "shared" / "file", policy) == CHANGE | Right.IOCTL_DEV
    assert rights_to(tmp_path, policy) == 0


def test_a_module_search_path_is_readable(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), "relative"])

    assert rights_to(tmp_path) == READ


def test_each_directory_has_one_rule_and_none_below_it():
    paths = [rule.path for rule in shared_rules(SandboxPolicy(Tier.BASIC)) if rule.rights == READ]

    assert not [path for path in paths for other in paths if path != other and is_below(path, other)]


def test_a_rule_that_opens_the_directories_of_all_sessions_is_refused_with_both_paths(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    place = tmp_path / "sessions"
    for opened in (tmp_path, tmp_path / "link", place):
        rules = shared_rules(SandboxPolicy(Tier.BASIC, (str(opened),)))
        with pytest.raises(StartError) as raised:
            check_rules(rules, [str(place)])
        assert str(place) in str(raised.value)
        assert str(tmp_path) in str(raised.value)
    check_rules(shared_rules(SandboxPolicy(Tier.BASIC, (str(place / "one"),))), [str(place)])


def test_names_that_only_begin_alike_are_not_below_each_other():
    assert is_below("/data/a", "/data")
    assert is_below("/data", "/data")
    assert is_below("/data", "/")
    assert not is_below("/database", "/data")
