"""Running pip in a session's directory of packages."""

import contextlib
import importlib.util
import re
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final

from skep_shared.isolation.network import Network
from skep_shared.originals import os, signal, time
from skep_workers.session.packages.directory import PackageDirectory

MAX_REASON_CHARS: Final = 500
# They would send packages to another place than the session's directory.
_ELSEWHERE: Final = frozenset({"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON"})
_PASSWORD: Final = re.compile(r"://[^/@\s]+@")
_NO_PIP: Final = (
    "the worker's environment has no pip: ask its operator to install it there (the extra skep[worker] contains it)"
)
_END_SECONDS: Final = 5.0
_HINTS: Final = {
    Network.NONE: (
        "this session has no network. Ask for one, SessionOptions(network='allow-list', allowed_hosts=[…]) with the "
        "hosts of the index, or ask the operator for a directory of packages (PIP_FIND_LINKS, PIP_NO_INDEX)"
    ),
    Network.ALLOW_LIST: (
        "this session reaches allowed hosts only. The index and the files that it leads to must be among them: for "
        "PyPI, pypi.org and files.pythonhosted.org in SessionOptions(allowed_hosts=[…]), or the operator's "
        "SKEP_NETWORK_HOSTS"
    ),
}


class PackagesNotInstalled(Exception):
    """Packages of the session could not be installed; the text says why, and what to do."""


def check_pip() -> None:
    """Raise PackagesNotInstalled if there is no pip."""
    if importlib.util.find_spec("pip") is None:
        raise PackagesNotInstalled(_NO_PIP)


def hint_for(network: Network) -> str:
    """Return what may be the reason why pip fails in a session with this network, '' if nothing is known."""
    return _HINTS.get(network, "")


def run_pip(directory: PackageDirectory, arguments: Sequence[str], seconds: float | None = None) -> int:
    """Run pip; what it prints belongs to the cell. Return its status.

    Raises PackagesNotInstalled after `seconds`. An exception, such as an interrupt, ends pip.
    """
    try:
        return subprocess.call(_command(directory, arguments), env=_environment(), timeout=seconds)
    except subprocess.TimeoutExpired:
        limit = f"pip {arguments[0]} has not ended within {seconds:g} s (SKEP_PACKAGES_SECONDS)"
        raise PackagesNotInstalled(limit) from None


class QuietPip:
    """Runs of pip outside of cells, which share a time limit. `reason`: why the latest one failed."""

    def __init__(self, directory: PackageDirectory, seconds: float) -> None:
        self._directory = directory
        self._ends_at = time.monotonic() + seconds
        self._seconds = seconds
        self.reason = ""

    @property
    def is_over_time(self) -> bool:
        """Return whether no time is left."""
        return time.monotonic() >= self._ends_at

    def install(self, requirements: Iterable[str]) -> bool:
        """Install exactly these, without what they need; return whether that succeeded."""
        command = _command(self._directory, ["install", "--no-deps", "--no-input", *requirements])
        left = self._ends_at - time.monotonic()
        late = f"installing has not ended within {self._seconds:g} s"
        if left <= 0:
            self.reason = late
            return False
        process = subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            text, _ = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            _end_all(process)
            self.reason = late
            return False
        except BaseException:  # an interrupt, for instance: nothing else would end it
            _end_all(process)
            raise
        self.reason = _reason_in(text) if process.returncode else ""
        return not process.returncode


def _command(directory: PackageDirectory, arguments: Sequence[str]) -> list[str]:
    return [directory.python, "-m", "pip", *arguments]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}


def _end_all(process: "subprocess.Popen[str]") -> None:
    """Kill pip, and the programs that it has started to build packages."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_END_SECONDS)


def _reason_in(text: str) -> str:
    """Return what pip says about its failure, without passwords."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-1:]
    return without_passwords("; ".join(errors) or "pip has said nothing")[:MAX_REASON_CHARS]


def without_passwords(text: str) -> str:
    """Return a text in which the URLs have no user and no password."""
    return _PASSWORD.sub("://****@", text)
