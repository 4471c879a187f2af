"""Which files a session in tier `basic` may use: the system's and Python's to read, its own two directories to change.

Of /etc only what programs look up is readable: the worker may run as root, whose sessions could read all of it.
Programs such as git and java end with an error if their configuration is there and can't be read. In
/dev/shm names can't be listed, so only a session that knows the (random) name of another one's memory finds it.
"""

import os
import sys
from collections.abc import Iterable
from typing import Final

from skep_shared.errors import StartError
from skep_workers.sandbox.kernel.landlock import PathRule, Right
from skep_workers.sandbox.policy import SandboxPolicy

READ: Final = Right.EXECUTE | Right.READ_FILE | Right.READ_DIR
CHANGE: Final = (
    READ | Right.WRITE_FILE | Right.TRUNCATE | Right.REFER | Right.REMOVE_DIR | Right.REMOVE_FILE | Right.MAKE_DIR
    | Right.MAKE_REG | Right.MAKE_SOCK | Right.MAKE_FIFO | Right.MAKE_SYM
)  # fmt: skip
_DEVICE: Final = Right.READ_FILE | Right.WRITE_FILE | Right.IOCTL_DEV
_SHARED_MEMORY: Final = (
    Right.READ_FILE | Right.WRITE_FILE | Right.TRUNCATE | Right.MAKE_REG | Right.REMOVE_FILE
)  # no directories: with these, joblib would need to list them; without, it uses TMPDIR

_SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store",
    "/proc", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm",
)  # fmt: skip
_CONFIGURATION: Final = (
    "ImageMagick-6", "ImageMagick-7", "OpenCL", "R", "alternatives", "bash.bashrc", "ca-certificates",
    "ca-certificates.conf", "crypto-policies", "debian_version", "fonts", "gitattributes", "gitconfig", "group",
    "host.conf", "hostname", "hosts", "inputrc", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk",
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "locale.alias", "localtime", "lsb-release", "machine-id", "magic", "mailcap", "manpath.config", "mime.types",
    "nsswitch.conf", "os-release", "pam.d", "passwd", "pki/ca-trust", "pki/tls/certs", "profile", "profile.d",
    "protocols", "python3", "resolv.conf", "rpc", "services", "shells", "skel", "ssl/certs", "ssl/openssl.cnf",
    "terminfo", "timezone",
)  # fmt: skip
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SHARED_MEMORY_DIRECTORY: Final = "/dev/shm"  # noqa: S108 - where the C library keeps shared memory


def shared_rules(policy: SandboxPolicy) -> list[PathRule]:
    """Return the rules that all sessions of a worker have in common."""
    return [
        *(PathRule(path, READ) for path in outermost(readable_paths(policy))),
        *changeable_rules(policy),
        PathRule(SHARED_MEMORY_DIRECTORY, _SHARED_MEMORY),
    ]


def readable_paths(policy: SandboxPolicy) -> list[str]:
    """Return what sessions may read, by the names that programs use; not all of it exists."""
    return [*_SYSTEM, *(f"/etc/{name}" for name in _CONFIGURATION), *python_places(), *policy.readable]


def changeable_rules(policy: SandboxPolicy) -> list[PathRule]:
    """Return the rules for what sessions may change in addition to their own directories."""
    return [
        *(PathRule(path, CHANGE | Right.IOCTL_DEV) for path in policy.writable),
        *(PathRule(path, _DEVICE) for path in DEVICES),
    ]


def outermost(paths: Iterable[str]) -> list[str]:
    """Return the real paths that are not below another one of them: each rule takes time at the start of a session."""
    real = sorted({os.path.realpath(path) for path in paths})
    return [path for path in real if not any(is_below(path, other) for other in real if other != path)]


def is_below(path: str, directory: str) -> bool:
    """Return whether a path is below a directory, or is that directory; both absolute."""
    return os.path.commonpath((path, directory)) == directory


def check_rules(rules: Iterable[PathRule], secret_places: Iterable[str]) -> None:
    """Raise StartError if a rule opens a directory that sessions must not see to all of them."""
    secret = [os.path.realpath(place) for place in secret_places]
    for rule in rules:
        opened = os.path.realpath(rule.path)
        for place in secret:
            if is_below(place, opened):
                reason = (
                    f"sessions may read {rule.path} (Python's search path, or a setting), which contains {place} with "
                    "the files of all sessions: move one of them, SKEP_DIRECTORY and TMPDIR set the latter"
                )
                raise StartError("sandbox", reason)


def python_places() -> list[str]:
    """Return where this interpreter, and the modules on its search path, are installed."""
    executable = os.path.dirname(os.path.realpath(sys.executable))  # noqa: PTH120 - a name, not a file's content
    places = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, executable, *sys.path]
    return [place for place in places if os.path.isabs(place)]  # noqa: PTH117 - as above
