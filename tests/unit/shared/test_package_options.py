"""Packages that sessions ask for: checked before anything is written. Settings of pip that sessions get."""

import pytest

from skep_shared.broker.submission import pack_options
from skep_shared.errors import InvalidArgument
from skep_shared.models import SessionOptions
from skep_shared.packages import MAX_PACKAGE_CHARS, MAX_PACKAGES, check_packages, index_settings
from skep_shared.settings import Settings, WorkerSettings

ACCEPTED = [
    "attrs",
    "attrs==25.*",
    "attrs >= 25, < 26",
    "zope.interface~=6.0",
    "requests[socks,use_chardet_on_py3]!=2.0",
    "torch===2.1.0+cpu",
    'tomli>=2; python_version < "3.11"',
]
REFUSED = {
    "--index-url http://example.org": "not an option of pip",
    "-e .": "not an option of pip",
    " -r requirements.txt": "not an option of pip",
    "https://example.org/a.whl": "not a URL or a path",
    "attrs @ https://example.org/a.whl": "not a URL or a path",
    "git+ssh://git@example.org/a": "not a URL or a path",
    "./attrs": "not a URL or a path",
    "attrs-25.0-py3-none-any.whl": "not a URL or a path",
    "attrs.tar.gz": "not a URL or a path",
    "": "a name with versions",
    ".": "a name with versions",
    "attrs 25": "a name with versions",
    "attrs\n--pre": "a name with versions",
    "attrs==25 --pre": "a name with versions",
    "attrs==${HOME}": "a name with versions",
    "é": "a name with versions",
    "a" * (MAX_PACKAGE_CHARS + 1): f"at most {MAX_PACKAGE_CHARS} characters",
}


@pytest.mark.parametrize("package", ACCEPTED)
def test_names_with_versions_are_accepted(package):
    assert check_packages([package]) == (package,)


@pytest.mark.parametrize(("package", "limit"), REFUSED.items())
def test_everything_else_is_refused_with_its_rule(package, limit):
    with pytest.raises(InvalidArgument, match=limit) as caught:
        pack_options(SessionOptions(packages=["attrs", package]), Settings())

    assert caught.value.field == "packages"


def test_too_many_packages_are_refused():
    names = [f"a{number}" for number in range(MAX_PACKAGES + 1)]

    with pytest.raises(InvalidArgument, match=f"at most {MAX_PACKAGES} packages, these are {MAX_PACKAGES + 1}"):
        pack_options(SessionOptions(packages=names), Settings())


def test_a_value_of_another_type_is_refused():
    with pytest.raises(InvalidArgument, match="a str is needed, not int"):
        check_packages([1])


def test_packages_are_stored_with_the_options():
    packed = pack_options(SessionOptions(packages=["attrs"]), Settings())

    assert SessionOptions.unpack(packed).packages == ("attrs",)


def test_only_settings_that_tell_where_packages_come_from_are_passed_on():
    environment = {
        "PIP_INDEX_URL": "https://user:word@example.org/simple",
        "PIP_FIND_LINKS": "",
        "PIP_TARGET": "/elsewhere",
        "AWS_SECRET_ACCESS_KEY": "hidden",
    }

    assert index_settings(environment) == {"index-url": "https://user:word@example.org/simple"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("packages", "on"), ("packages_bytes", -1), ("packages_seconds", 0), ("packages_seconds", 3601)],
)
def test_settings_of_packages_have_limits(name, value):
    with pytest.raises(InvalidArgument) as caught:
        WorkerSettings.load(**{name: value})

    assert caught.value.field == name
