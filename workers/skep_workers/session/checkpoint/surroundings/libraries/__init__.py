"""Process-wide state of libraries: options, generators, print settings.

One part for each library. A part is read only while its library is loaded, and compares first what is cheap to read:
identities, lengths, memory. A restore sets what a session has changed, and imports the library for that if necessary. A
value that may be the library's own default is set only if the library is loaded anyway. No library is imported before
that.
"""

from skep_workers.session.checkpoint.surroundings.libraries.matplotlib_parameters import MatplotlibParameters
from skep_workers.session.checkpoint.surroundings.libraries.numpy_random import NumpyRandom
from skep_workers.session.checkpoint.surroundings.libraries.numpy_settings import NumpySettings
from skep_workers.session.checkpoint.surroundings.libraries.pandas_options import PandasOptions
from skep_workers.session.checkpoint.surroundings.libraries.registries import REGISTRIES, LibraryRegistry
from skep_workers.session.checkpoint.surroundings.libraries.settings import SETTINGS, LibrarySettings
from skep_workers.session.checkpoint.surroundings.libraries.torch_random import TorchRandom
from skep_workers.session.checkpoint.surroundings.part import Part

__all__ = ["library_parts"]


def library_parts() -> list[Part]:
    """Return the parts of all supported libraries."""
    parts: list[Part] = [NumpySettings(), NumpyRandom(), PandasOptions(), MatplotlibParameters(), TorchRandom()]
    parts += [LibrarySettings(library, settings) for library, settings in SETTINGS.items()]
    return [*parts, *(LibraryRegistry(library, registry) for library, registry in REGISTRIES)]
