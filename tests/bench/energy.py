"""Measure energy: `python -m tests.bench.energy`.

A year of data in one JSON body becomes quarters of an hour: the normalizer's own code against pandas and against a plain loop,
which get the same body, interleaved, and must give the same values.
"""

import gc
import importlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson

from broker.runtime.settings import ROOT
from controllers.energy.anomaly import anomalies
from controllers.energy.post import read_post
from controllers.energy.quarters import to_quarters
from controllers.energy.registers import Span
from controllers.energy.series import Series
from tests.bench.figures import Figure, at_least, below, progress, table

ROUNDS = 9
READINGS = 1_000
DAYS = 365
TOLERANCE = 1e-9

sys.path.append(str(ROOT / ".venv" / "peers"))
pd: Any = importlib.import_module("pandas")  # not with what Scaup imports: PyArrow would load it into every process, in 1.3 s

Energy = dict[int, float]
"""kWh by beginning of the quarter, s since 1970."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One of the three shapes that occur in the wild."""

    name: str
    units: str
    minutes: int

    @property
    def body(self) -> bytes:
        """A year of it, as it is posted."""
        count = DAYS * 1440 // self.minutes
        rng, start_at = np.random.default_rng(1), datetime(2018, 1, 1, tzinfo=UTC)
        values = np.round(300 + 200 * np.sin(np.arange(count) * self.minutes / 1440 * 2 * np.pi) + rng.normal(0, 5, count), 2)
        times = [(start_at + timedelta(minutes=n * self.minutes)).strftime("%Y-%m-%dT%H:%M:%SZ") for n in range(count)]
        data = [{"datetime": at, "value": value} for at, value in zip(times, values.tolist(), strict=True)]
        return orjson.dumps({"spaceship_id": 1, "units": self.units, "data": data})


SHAPES = (Shape("5-minute kW", "kW", 5), Shape("15-minute kWh", "kWh", 15), Shape("hourly kWh", "kWh", 60))


def ours(body: bytes, _: Shape) -> Any:
    """Normalize as the normalizer does: every check, and the interval inferred."""
    return to_quarters(read_post(body).readings)


def with_pandas(body: bytes, shape: Shape) -> Any:
    """Resample with pandas, which is given the interval and checks nothing."""
    frame = pd.DataFrame(orjson.loads(body)["data"])
    frame["datetime"] = pd.to_datetime(frame["datetime"], utc=True, format="%Y-%m-%dT%H:%M:%SZ")
    series = frame.set_index("datetime")["value"]
    if shape.units == "kW":
        return series.resample("15min").mean() * 0.25
    parts = shape.minutes // 15
    if parts == 1:
        return series.resample("15min").sum()
    whole = pd.date_range(series.index[0], periods=len(series) * parts, freq="15min")
    return series.reindex(whole, method="ffill") / parts


def plainly(body: bytes, shape: Shape) -> Any:
    """Loop over the rows, given the interval too."""
    quarters: dict[int, list[float]] = defaultdict(list)
    parts = max(1, shape.minutes // 15)
    for row in orjson.loads(body)["data"]:
        at_s = int(datetime.fromisoformat(row["datetime"]).timestamp())
        for n in range(parts):
            quarters[at_s // 900 * 900 + 900 * n].append(row["value"] / parts)
    if shape.units == "kW":
        return {at_s: sum(values) / len(values) * 0.25 for at_s, values in quarters.items()}
    return {at_s: sum(values) for at_s, values in quarters.items()}


COMPETITORS: dict[str, Callable[[bytes, Shape], Any]] = {"scaup": ours, "pandas": with_pandas, "plain loop": plainly}


def as_energy(result: Any) -> Energy:
    """Return any result in the same form."""
    if isinstance(result, dict):
        return result
    if isinstance(result, pd.Series):
        return {int(at.timestamp()): float(value) for at, value in result.items()}
    return dict(zip((result.start_us // 1_000_000).tolist(), result.kwh.tolist(), strict=True))


def same(first: Energy, second: Energy) -> bool:
    """Return whether both have the same quarters, and the same values to 1e-9 kWh."""
    return first.keys() == second.keys() and all(abs(first[at] - second[at]) <= TOLERANCE for at in first)


def timed(work: Callable[[], object]) -> float:
    """Return the wall seconds that something takes."""
    gc.collect()
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def medians(shape: Shape) -> dict[str, float]:
    """Return the median of each competitor's times, s; they take turns."""
    body = shape.body
    results = {name: as_energy(work(body, shape)) for name, work in COMPETITORS.items()}
    for name, result in results.items():
        if not same(results["scaup"], result):
            sys.exit(f"{shape.name}: {name} has other values")
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, work in COMPETITORS.items():
            times[name].append(timed(lambda work=work: work(body, shape)))  # type: ignore[misc]
    return {name: statistics.median(each) for name, each in times.items()}


def figures(shape: Shape) -> list[Figure]:
    """Measure one shape."""
    found = medians(shape)
    progress(f"{shape.name}: " + ", ".join(f"{name} {1000 * took_s:.1f} ms" for name, took_s in found.items()))
    target = at_least(3, "×") if shape.units == "kW" else None
    return [
        Figure(f"a year of {shape.name}: body → quarters", 1000 * found["scaup"], "ms"),
        Figure(f"a year of {shape.name}: rate as a multiple of pandas", found["pandas"] / found["scaup"], "×", target),
        Figure(f"a year of {shape.name}: rate as a multiple of a plain loop", found["plain loop"] / found["scaup"], "×"),
    ]


def anomaly_figure() -> Figure:
    """Measure the search for anomalies in a year of quarters."""
    quarters = ours(SHAPES[0].body, SHAPES[0])
    took_s = statistics.median(timed(lambda: anomalies(quarters, 0, 2**62)) for _ in range(ROUNDS))
    return Figure("anomalies of a year", 1000 * took_s, "ms", below(20, "ms"))


def register_figures() -> list[Figure]:
    """Measure a register that is read every minute: a year read back after a restart, and the next readings."""
    start_at, minutes = datetime(2018, 1, 1, tzinfo=UTC), DAYS * 1440
    head = b'{"spaceship_id":1,"units":"kWh","register":"main","falls":"ignore","data":[{"datetime":"'
    bodies = [
        b'%b%b","value":%.3f}]}' % (head, f"{start_at + timedelta(minutes=n):%Y-%m-%dT%H:%M:%S.000000Z}".encode(), n / 8)
        for n in range(minutes + READINGS)
    ]
    series = Series()

    def take(body: bytes) -> Span | None:
        post = read_post(body)
        return series.add_register("main", post.readings, post.falls)

    began_s = time.process_time()
    for body in bodies[:minutes]:
        take(body)
    series.refresh()
    restart_s = time.process_time() - began_s
    took_s = timed(lambda: [series.refresh(take(body)) for body in bodies[minutes:]])
    energy = float(series.quarters.kwh.sum())
    if abs(energy - (len(bodies) - 1) / 8) > 1e-6:
        sys.exit(f"the register's quarters have {energy} kWh")
    return [
        Figure("a year of a register, read every minute: read back after a restart, processor time", restart_s, "s"),
        Figure("the next reading of it: body → changed quarters", 1000 * took_s / READINGS, "ms", below(5, "ms")),
    ]


def main() -> None:
    """Run the bench; exits with 1 where a target is missed."""
    found = [each for shape in SHAPES for each in figures(shape)] + [anomaly_figure(), *register_figures()]
    print(table(("figure", "target", "measured", "reached"), [each.row for each in found]))
    sys.exit(any(each.missed for each in found))


if __name__ == "__main__":
    main()
