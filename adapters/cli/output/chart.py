"""A small chart in text: one line over time with a reference line."""

from collections.abc import Sequence

_MARK, _REFERENCE, _BOTH = "•", "─", "◆"
_BARS = " ▁▂▃▄▅▆▇█"
_LABEL_WIDTH = 7


def chart(values: Sequence[float | None], reference: Sequence[float | None], height: int = 8) -> list[str]:
    """Draw `values` as points over `reference` as a line, oldest left; None is a gap. The scale is labelled on the left."""
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
    """Draw percentages (0..100) as one row of bars, labelled like a chart."""
    steps = len(_BARS) - 1
    drawn = (" " if value is None else _BARS[max(0, min(steps, round(value / 100 * steps)))] for value in percentages)
    return f"{'valve':>{_LABEL_WIDTH - 1}} │{''.join(drawn)}"


def _line(number: int, rows: Sequence[tuple[int | None, int | None]], label: float) -> str:
    return f"{label:{_LABEL_WIDTH - 1}.2f} │{''.join(_cell(number, value, wanted) for value, wanted in rows)}".rstrip()


def _cell(number: int, value: int | None, wanted: int | None) -> str:
    if value == number:
        return _BOTH if wanted == number else _MARK
    return _REFERENCE if wanted == number else " "
