"""The peers' virtual environments, made once and kept: their pins contradict each other, so there are several.

They live in ~/.cache/skep-bench (or where `--peers-venv` says) and are made again when a requirement here changes.
A peer that is to have what sessions have runs `HERE`, in the environment of the bench itself.
"""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

from .libraries import why_unmeasured

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "notebooks": (
        "ipykernel==7.4.0", "jupyter_client==8.10.0", "kishu==0.3.4", "dill==0.4.1", "cloudpickle==3.1.2",
        "numpy==2.4.6", "pandas==3.1.1", "redis==5.3.1", "hiredis==3.5.0",
    ),
    "server": ("jupyter_server==2.21.1", "ipykernel==7.4.0", "tornado==6.6.1"),
    "arq": ("arq==0.28.0", "hiredis==3.5.0", "uvloop==0.23.0"),
    "saq": ("saq[redis]==0.26.4", "typing_extensions", "hiredis==3.5.0", "uvloop==0.23.0"),  # undeclared by saq
    "celery": ("celery[redis]==5.7.0", "hiredis==3.5.0"),
    "taskiq": ("taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis==3.5.0", "uvloop==0.23.0"),
}  # fmt: skip
STAMP = "requirements.installed"
HERE = "this environment"
NEEDED_HERE = ("ipykernel", "jupyter_client")


class PeerMissing(RuntimeError):
    """The peer's environment can't be made, or isn't wanted."""


class Environments:
    """Makes an environment when it is first asked for; `directory` None: no peers in this run."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    @property
    def are_wanted(self) -> bool:
        """Return whether peers are measured at all."""
        return self._directory is not None

    async def prepare(self, names: set[str]) -> dict[str, str]:
        """Create the environments of these peers; return the failures, by name."""
        failures = {}
        for name in sorted(names):
            try:
                await asyncio.to_thread(self._make, name)
            except PeerMissing as exc:
                failures[name] = str(exc)
        return failures

    def python(self, name: str) -> Path:
        """Return the interpreter of a peer. Raises PeerMissing."""
        if self._directory is None:
            raise PeerMissing("peers are off")
        if name == HERE:
            if reason := why_unmeasured(NEEDED_HERE):
                raise PeerMissing(reason)
            return Path(sys.executable)
        if not self._is_made(name):
            raise PeerMissing(f"the environment of {name} could not be made")
        return self._directory / name / "bin" / "python"

    def _is_made(self, name: str) -> bool:
        assert self._directory is not None
        stamp = self._directory / name / STAMP
        return stamp.exists() and stamp.read_text() == "\n".join(REQUIREMENTS[name])

    def _make(self, name: str) -> None:
        if self._directory is None:
            raise PeerMissing("peers are off")
        if self._is_made(name):
            return
        target = self._directory / name
        print(f"installing {', '.join(REQUIREMENTS[name])} into {target}", file=sys.stderr)
        shutil.rmtree(target, ignore_errors=True)
        python = target / "bin" / "python"
        for command in (
            [sys.executable, "-m", "venv", "--without-pip", str(target)],
            [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *REQUIREMENTS[name]],
            # Cold starts would be wrong without the bytecode.
            [str(python), "-m", "compileall", "-q", str(target / "lib")],
        ):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode and "compileall" not in command:
                last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise PeerMissing(f"{name} can't be installed: {last}")
        (target / STAMP).write_text("\n".join(REQUIREMENTS[name]))
