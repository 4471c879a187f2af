"""Where the code of the engine and of asyncio is: its frames are not shown, and signals don't interrupt it."""

import asyncio
import selectors
from pathlib import Path
from typing import Final

from skep_workers import session

ENGINE_DIRECTORY: Final = str(Path(str(session.__file__)).parent) + "/"
ASYNCIO_DIRECTORY: Final = str(Path(asyncio.__file__).parent) + "/"
# Prefixes of the file names of the frames that lie below a cell's own while the cell waits on the loop.
LOOP_CODE: Final = (ENGINE_DIRECTORY, ASYNCIO_DIRECTORY, str(Path(selectors.__file__)))
