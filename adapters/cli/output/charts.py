"""Charts of values over time: in text for the terminal, and as PNG drawn by matplotlib."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

from adapters.client.errors import Failed

_MARK, _REFERENCE, _BOTH = "•", "─", "◆"
_BARS = " ▁▂▃▄▅▆▇█"
_LABEL_WIDTH = 7


def text_chart(values: Sequence[float | None], reference: Sequence[float | None], height: int = 8) -> list[str]:
    """Draw `values` as points over `reference` as a line, oldest on the left; None is a gap. Labels of the scale stand left."""
    present = [value for value in (*values, *reference) if value is not None]
    if not present or height < 2:
        return []
    low, high = min(present), max(present)
    span = max(high - low, 0.2)
    middle = (low + high) / 2
    low, high = middle - span / 2, middle + span / 2

    def row_of(value: float | None) -> int | None:
        return None if value is None else round((high - value) / span * (height - 1))

    rows = [(row_of(value), row_of(wanted)) for value, wanted in zip(values, reference, strict=True)]
    return [_line(number, rows, high - span * number / (height - 1)) for number in range(height)]


def bars(percentages: Sequence[float | None]) -> str:
    """Draw percentages (0..100) as one row of bars, with a label on the left."""
    steps = len(_BARS) - 1
    drawn = (" " if value is None else _BARS[max(0, min(steps, round(value / 100 * steps)))] for value in percentages)
    return f"{'valve':>{_LABEL_WIDTH - 1}} │{''.join(drawn)}"


@contextmanager
def png_chart(path: Path, title: str, unit: str) -> Iterator[Any]:
    """Yield the axes to draw on, instants in UTC to the right and values of `unit` upwards; write the file at the end.

    Raises:
        Failed: matplotlib is not installed, the file cannot be written, or a value or an instant is out of its range.
    """
    try:
        from matplotlib import dates as untyped_dates
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.units import ConversionError
    except ImportError as error:
        raise Failed(f"matplotlib is not installed: {error}", "type make setup") from error
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
        raise Failed(f"this series cannot be drawn: {error}", "leave out distant times with --since") from error


def _line(number: int, rows: Sequence[tuple[int | None, int | None]], label: float) -> str:
    return f"{label:{_LABEL_WIDTH - 1}.2f} │{''.join(_cell(number, value, wanted) for value, wanted in rows)}".rstrip()


def _cell(number: int, value: int | None, wanted: int | None) -> str:
    if value == number:
        return _BOTH if wanted == number else _MARK
    return _REFERENCE if wanted == number else " "
