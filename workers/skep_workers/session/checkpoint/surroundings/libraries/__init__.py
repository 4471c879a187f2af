"""What libraries keep for the whole process: options, generators, ways of printing.

One part a library. Each is read only while its library is loaded, and looks first at what is cheap: identities,
lengths, memory. What a session has changed is set again after a restore, which loads the library if nothing else has;
what is only known to have some value is set where the library is loaded anyway. No library is imported before that.
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
    """Return the parts of all libraries that are known."""
    parts: list[Part] = [NumpySettings(), NumpyRandom(), PandasOptions(), MatplotlibParameters(), TorchRandom()]
    parts += [LibrarySettings(library, settings) for library, settings in SETTINGS.items()]
    return [*parts, *(LibraryRegistry(library, registry) for library, registry in REGISTRIES)]
