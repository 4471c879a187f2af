"""Reads a pickle stream and continues where an object can't be made.

`pickle.loads` returns everything or nothing. This reader makes each object that can be made. An object whose class is
missing, or whose code raises, hangs or recurses, is lost, and so is each object that reaches it (see `losses`). The
other objects of the stream are not.

It also restores objects that `pickle.loads` can't: a set or a dict with a key that hashes by its state, while the key
has no state yet, because both are parts of one cycle. Such an item is added when the whole stream has been read.

Things that don't work:

- A subclass of `pickle.Unpickler`. It may replace the object that a global name refers to, but it can't catch the
  exception of a call. A stand-in that wraps a function would remain wherever the function itself is a value.
- Reading a stream at full speed first, and again here if that fails, in every case. Code of cells in it would run
  twice. So `loading` uses this reader at once for a stream that runs such code.
- Noting lost objects by their ids alone. Objects end during a load, and others get their ids, and with them the loss.
  `losses` keeps every object alive that it has noted.
"""

import pickle
import struct
from typing import Any, Final

from skep_workers.session.checkpoint.restoring.object_builder import ObjectBuilder
from skep_workers.session.checkpoint.restoring.opcodes import OPCODES

_STOP: Final = pickle.STOP[0]
_REDUCE: Final = pickle.REDUCE[0]


class TolerantUnpickler(ObjectBuilder):
    """Reads one stream; `losses` has the objects in it that could not be made."""

    def load(self) -> Any:
        """Return the value of the stream, with stand-ins for lost objects.

        Raises UnpicklingError for a broken stream.
        """
        data = self._data
        try:
            while True:
                self._start = at = self._at
                self._at = at + 1
                code = data[at]
                if code == _STOP:
                    break
                OPCODES[code](self)
                if code != _REDUCE:
                    self._reduced = None
            loaded = self.stack.pop()
        except (IndexError, KeyError, StopIteration, struct.error) as exc:
            raise pickle.UnpicklingError(f"a stream is broken at byte {self._start}: {exc!r}") from exc
        self._add_late()
        return loaded
