"""Settings of libraries, each with a public call that reads it and one that sets it."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_plain
from skep_workers.session.safeguards.native_threads import NativeThread

UNKNOWN: Final = object()  # a default that can't be read from the library


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a module: how it is read and set, and its default."""

    name: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]
    default: Any


class LibrarySettings(Part):
    """The settings of one library."""

    name: ClassVar[str]  # set for each instance: the library's name

    def __init__(self, library: str, settings: Sequence[Setting]) -> None:
        self.library = self._library = self.name = library  # type: ignore[misc]
        self._settings: Final = settings

    def read(self) -> Reading | None:
        """Return the changed settings that are plain data."""
        module = sys.modules[self._library]
        changed: dict[str, Any] = {}
        for setting in self._settings:
            value = setting.read(module)
            if value is not None and value != setting.default and is_plain(value):
                changed[setting.name] = value
        return (changed, {}) if changed else None

    def restore(self, state: Any) -> None:
        """Set them again; a setting with an unknown default only if the library is loaded."""
        failed = []
        for setting in self._settings:
            if setting.name in state and (setting.default is not UNKNOWN or self._library in sys.modules):
                try:
                    setting.write(import_module(self._library), state[setting.name])
                except Exception as exc:  # noqa: BLE001 - a setting that this version doesn't have affects no other
                    failed.append(f"{setting.name}: {exc}")
        if failed:
            raise ValueError("; ".join(failed))


def _dialects(csv: Any) -> dict[str, Any]:
    fields = (
        "delimiter", "doublequote", "escapechar", "lineterminator", "quotechar", "quoting", "skipinitialspace", "strict"
    )  # fmt: skip
    added = [name for name in csv.list_dialects() if name not in {"excel", "excel-tab", "unix"}]
    return {name: {each: getattr(csv.get_dialect(name), each) for each in fields} for name in added}


def _set_dialects(csv: Any, dialects: Mapping[str, Any]) -> None:
    for name, fields in dialects.items():
        csv.register_dialect(name, **fields)


def _changed_config(sklearn: Any) -> Any:
    now = sklearn.get_config()
    if now == _sklearn.get("seen"):
        return _sklearn["changed"]
    defaults: dict[str, Any] = {}
    # The settings belong to a thread: a new thread has the defaults.
    asking = NativeThread(lambda: defaults.update(sklearn.get_config()), "skep-defaults")
    asking.start()
    asking.join()
    changed = {name: value for name, value in now.items() if value != defaults.get(name) and is_plain(value)}
    _sklearn.update(seen=now, changed=changed)
    return changed


_sklearn: Final[dict[str, Any]] = {}
_POLARS: Final = {
    "set_fmt_float": "mixed",
    "set_float_precision": None,
    "set_thousands_separator": "",
    "set_decimal_separator": ".",
    "set_trim_decimal_zeros": False,
}


def _polars_config(polars: Any) -> dict[str, Any]:
    # Settings that are environment variables are saved with the environment.
    found = polars.Config.state(if_set=True)
    return {name: found[name] for name in _POLARS if name in found and found[name] != _POLARS[name]}


def _set_polars(polars: Any, config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        getattr(polars.Config, name)(value)


def _determinism(torch: Any) -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


_PRINTING: Final = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}


def _printing(torch: Any) -> dict[str, Any]:
    # No public function reads the print options. If a version stores them elsewhere, they aren't saved.
    options = getattr(getattr(torch, "_tensor_str", None), "PRINT_OPTS", None)
    return {name: value for name, default in _PRINTING.items() if (value := getattr(options, name, default)) != default}


def _threads(torch: Any) -> int | None:
    # The number of processors, or of cores, is no choice of a cell's: another host has another number.
    count: int = torch.get_num_threads()
    processors = {os.cpu_count() or 1, len(os.sched_getaffinity(0))}
    return None if count in processors | {each // 2 for each in processors} else count


def _dummies(sympy: Any) -> tuple[int, int]:
    # A Dummy is identified by a random start of the process and a count. No public interface has them.
    return getattr(sympy.Dummy, "_base_dummy_index", 0), getattr(sympy.Dummy, "_count", 0)


def _set_dummies(sympy: Any, found: tuple[int, int]) -> None:
    start, count = _dummies(sympy)
    if start == found[0] and count < found[1]:  # both processes are forks of one that had imported it
        sympy.Dummy._count = found[1]  # noqa: SLF001


def _flag_of(owner: str, name: str, default: Any) -> Setting:
    def found(module: Any) -> Any:
        for part in owner.split(".") if owner else ():
            module = getattr(module, part)
        return module

    return Setting(
        f"{owner}.{name}".strip("."),
        lambda module: getattr(found(module), name),
        lambda module, value: setattr(found(module), name, value),
        default,
    )


SETTINGS: Final[dict[str, Sequence[Setting]]] = {
    "csv": (
        Setting("field_size_limit", lambda csv: csv.field_size_limit(), lambda csv, n: csv.field_size_limit(n), 131072),
        Setting("dialects", _dialects, _set_dialects, {}),
    ),
    "calendar": (
        Setting("firstweekday", lambda calendar: calendar.firstweekday(), lambda c, day: c.setfirstweekday(day), 0),
    ),
    "multiprocessing": (
        Setting(
            "start_method",
            lambda module: module.get_start_method(allow_none=True),
            lambda module, method: module.set_start_method(method, force=True),
            "fork",
        ),
    ),
    "torch": (
        Setting(
            "default_dtype",
            lambda torch: str(torch.get_default_dtype()).removeprefix("torch."),
            lambda torch, name: torch.set_default_dtype(getattr(torch, name)),
            "float32",
        ),
        Setting(
            "deterministic_algorithms",
            _determinism,
            lambda torch, found: torch.use_deterministic_algorithms(found[0], warn_only=found[1]),
            (False, False),
        ),
        Setting(
            "float32_matmul_precision",
            lambda torch: torch.get_float32_matmul_precision(),
            lambda torch, name: torch.set_float32_matmul_precision(name),
            "highest",
        ),
        Setting(
            "default_device",
            lambda torch: str(torch.get_default_device()),
            lambda torch, name: torch.set_default_device(name),
            "cpu",
        ),
        Setting(
            "grad_enabled",
            lambda torch: torch.is_grad_enabled(),
            lambda torch, flag: torch.set_grad_enabled(flag),
            True,
        ),
        Setting(
            "anomaly_enabled",
            lambda torch: torch.is_anomaly_enabled(),
            lambda torch, flag: torch.autograd.set_detect_anomaly(flag),
            False,
        ),
        Setting("num_threads", _threads, lambda torch, count: torch.set_num_threads(count), None),
        Setting("printing", _printing, lambda torch, found: torch.set_printoptions(**found), {}),
        Setting(
            "warn_always",
            lambda torch: torch.is_warn_always_enabled(),
            lambda torch, flag: torch.set_warn_always(flag),
            False,
        ),
        _flag_of("backends.cudnn", "deterministic", default=False),
        _flag_of("backends.cudnn", "benchmark", default=False),
    ),
    "sklearn": (Setting("config", _changed_config, lambda sklearn, found: sklearn.set_config(**found), {}),),
    "polars": (Setting("config", _polars_config, _set_polars, {}),),
    "plotly.io": (_flag_of("renderers", "default", UNKNOWN),),
    "mpmath": (
        _flag_of("mp", "prec", 53),
        _flag_of("mp", "pretty", default=False),
        _flag_of("iv", "prec", 53),
    ),
    "sympy": (Setting("Dummy", _dummies, _set_dummies, UNKNOWN),),
    "xarray": (
        Setting("options", lambda xr: dict(xr.get_options()), lambda xr, found: xr.set_options(**found), UNKNOWN),
    ),
}
