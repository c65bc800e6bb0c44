from datetime import UTC, datetime, timedelta

import pytest

from adapters.cli.systems.energy.charts import LABELS, text_lines
from adapters.cli.systems.energy.period import QuarterAnomaly, ShipPeriod, ShipQuarter

START_AT = datetime(2018, 8, 24, tzinfo=UTC)


def quarter(n: int, kwh: float | None, quality: str = "measured", kind: str = "") -> ShipQuarter:
    anomalies = (QuarterAnomaly(kind, kwh, 3.0, "why"),) if kind else ()
    return ShipQuarter(START_AT + timedelta(minutes=15 * n), kwh, quality, 1.0, False, None, anomalies)


def period(*quarters: ShipQuarter, count: int = 60) -> ShipPeriod:
    return ShipPeriod("1", START_AT, START_AT + timedelta(minutes=15 * count), quarters)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("count", [1, 60, 96, 1000])
@pytest.mark.parametrize("kwh", [0.0, 3.0, -5.0, 12_345.6, -999.0])
def test_no_line_is_wider_than_the_terminal(width: int, count: int, kwh: float) -> None:
    lines = text_lines(period(*(quarter(n, kwh * n) for n in range(count)), count=count), width)
    assert max(map(len, lines)) <= width
    assert sum("│" in each and "•" in each for each in lines) >= 1


def test_marks_stand_below_their_column() -> None:
    shown = [quarter(0, 3.0, "estimated"), quarter(1, 3.0, "partial"), quarter(2, 9.0, kind="outlier"), quarter(4, 3.0)]
    lines = text_lines(period(*shown, quarter(3, None, kind="missing"), count=6), 80)
    (marks,) = (each for each in lines if each.startswith(" " * (LABELS - 1) + "│"))
    assert marks[LABELS:] == "ep!- -"
    assert "! anomaly" in lines[-2]
    assert lines[-1].strip() == "2018-08-24 00:00Z"


def test_without_anything_to_mark_there_is_no_legend() -> None:
    assert not any("anomaly" in each for each in text_lines(period(*(quarter(n, 3.0) for n in range(60))), 80))


def test_an_anomaly_is_not_lost_in_a_mean() -> None:
    shown = [quarter(n, 100.0 if n == 500 else 3.0, kind="outlier" if n == 500 else "") for n in range(1000)]
    lines = text_lines(period(*shown, count=1000), 80)
    assert lines[1].startswith("100.00 │")


def test_a_gap_is_empty() -> None:
    lines = text_lines(period(*(quarter(n, 3.0 + n % 2) for n in range(60) if not 20 <= n < 40)), 80)
    drawn = [each[LABELS:].ljust(60) for each in lines[1:9]]
    assert all(each[20:40].strip() == "" for each in drawn)
