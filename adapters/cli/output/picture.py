"""A picture of something over time: PNG, drawn by matplotlib without a display."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

from adapters.client.errors import Failed


@contextmanager
def picture(path: Path, title: str, unit: str) -> Iterator[Any]:
    """Give the axes to draw on, instants in UTC to the right and values of `unit` upwards; write the file at the end.

    Raises:
        Failed: matplotlib is not there, the file cannot be written, or what was drawn is too far away or too large.
    """
    try:
        from matplotlib import dates as untyped_dates
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.units import ConversionError
    except ImportError as error:
        raise Failed(f"there is no matplotlib to draw with: {error}", "type make setup") from error
    figure = Figure(figsize=(10, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    dates: Any = untyped_dates
    try:
        yield axes
        locator = dates.AutoDateLocator(tz=UTC)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))
        axes.set(title=title, xlabel="UTC", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(loc="best", fontsize="small")
        figure.savefig(path, format="png")
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}", "choose another --png") from error
    except (ValueError, OverflowError, ConversionError) as error:
        raise Failed(f"this series cannot be drawn: {error}", "leave out what is far away with --since") from error
