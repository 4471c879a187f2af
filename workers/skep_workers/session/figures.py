"""The matplotlib backend of session processes: Agg, with a `show` that displays.

matplotlib imports it by name (MPLBACKEND=module://skep_workers.session.figures); nothing else does.
"""

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas

from skep_workers.session.display.publisher import show_figures

__all__ = ["FigureCanvas", "show"]


def show(*_args: Any, **_options: Any) -> None:
    """Put every open figure among the cell's output, and close it."""
    show_figures()
