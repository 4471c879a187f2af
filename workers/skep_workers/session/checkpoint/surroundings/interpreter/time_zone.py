"""The time zone of the process: `TZ` takes effect when `time.tzset` is called."""

import time
from time import tzset  # bound early: user code may patch time
from typing import Any

from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class TimeZone(Part):
    """Whether cells have called `tzset`, and the resulting zone."""

    name = "time zone"
    is_needed_by_loading = True

    def __init__(self) -> None:
        self._first = time.tzname

    def set_given(self) -> None:
        """Use the zone in the session's options, which is not saved."""
        tzset()
        self._first = time.tzname

    def read(self) -> Reading | None:
        """Return the zone once it was set: each call of `tzset` makes a new tuple of names."""
        return None if time.tzname is self._first else (_zone(), {})

    def restore(self, state: Any) -> None:
        """Set the zone from the restored environment. Raises LookupError if the result is another zone here."""
        tzset()
        if _zone() != state:
            raise LookupError(f"it was {'/'.join(state[0])}, TZ makes it {'/'.join(time.tzname)} here")


def _zone() -> tuple[Any, ...]:
    return time.tzname, time.timezone, time.altzone, time.daylight
