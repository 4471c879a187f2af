"""What the session process asks of its sandbox; the sandboxes themselves are in skep_workers.sandbox."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class Sandbox(Protocol):
    """Restricts forks of the zygote, each to one session."""

    @property
    def environment(self) -> str:
        """Return the path at which sessions find the environment that they begin with."""

    @property
    def own_processes(self) -> set[int]:
        """Return the children of the zygote that are neither sessions nor left behind by one."""

    def prepare(self) -> None:
        """Do in the zygote what its forks have in common, after everything is imported. Raises StartError, OSError."""

    def prepare_next(self) -> None:
        """Do in advance what the next fork needs. Raises OSError."""

    def fork(self) -> int:
        """Fork a process for a session, as os.fork does. Raises OSError."""

    def note_end(self, pid: int) -> None:
        """Note that a child of the zygote has ended."""

    def enter(
        self, directory: str, private: str, kept: Iterable[int], network: Sequence[Any] = (), supply: int = -1
    ) -> None:
        """Restrict this process, which has one thread, and its descendants to a session with these directories.

        private: for its temporary files. kept: the descriptors of the session process; others are closed. network: as
        GrantedNetwork.pack returns it, empty for none. supply: a socket to the worker, by which the latter gets what it
        needs to make the session's sockets; -1 if it makes none.
        The working directory is `directory` afterwards. Raises OSError; the process must end then.
        """


def make_sandbox(policy: str, place: str, secret_places: list[str], environment: str) -> Sandbox | None:
    """Return the sandbox of a zygote's sessions; None if the policy is empty. Raises OSError.

    Call this while the process has one thread. place: the directory of the sessions' directories. secret_places:
    directories that hold files of all sessions. environment: the directory of the environment of all sessions.
    """
    if not policy:
        return None
    # Imported only where it is used: every module is in every session's memory.
    from skep_workers.sandbox.making import make  # noqa: PLC0415
    from skep_workers.sandbox.policy import SandboxPolicy  # noqa: PLC0415

    return make(SandboxPolicy.from_text(policy), place, secret_places, environment)
