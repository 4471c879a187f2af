"""The matplotlib backend of session processes: Agg, with a `show` that displays.

Only matplotlib imports this, by its name (MPLBACKEND=module://skep_workers.session.figures).
"""

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas

from skep_workers.session.display.publisher import show_figures

__all__ = ["FigureCanvas", "show"]


def show(*_args: Any, **_options: Any) -> None:
    """Display every open figure and close it."""
    show_figures()
