"""A watch on what is recorded: how many messages of each system, and whether numbers are missing.

While the metrics are read, it sums up the new messages every 15 s with one query to the recorder: its cost follows the
number of new messages, not the size of the recording. A publisher numbers its messages (`boot`, `seq`), so a number that is
not recorded is a lost message. One counts after two looks without it: it may have been overtaken.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from adapters.client.aio_recorder import RecorderClient
from adapters.client.errors import ClientError
from broker.contract import systems
from broker.contract.machines.topics import Status
from broker.contract.storage import questions
from broker.contract.storage.topics import QueryRequest
from broker.log import Log
from broker.runtime.component import Bus

log = Log(__name__)

LOOK_EVERY_S = 15.0
FIRST_LOOK_S = 2.0
"""From the note of where to begin to the first look."""
READ_WITHIN_S = 300.0
"""Without a reader for this long, the watch stops looking; it then begins again at the newest message."""
TIMEOUT_S = 10.0
MOST_STARTS = 5_000
"""Starts of publishers that are followed; the oldest are given up first."""
OTHER = "other"


@dataclass(slots=True)
class _Start:
    """The numbers of one start of a publisher: those above `base` are judged."""

    base: int
    high: int
    count: int = 0
    missing_before: int = 0
    lost: int = 0

    def add(self, high: int, count: int) -> int:
        """Add a piece of the recording; return how many more messages count as lost."""
        self.high, self.count = max(self.high, high), self.count + count
        missing = max(0, self.high - self.base - self.count)
        lost = max(self.lost, min(self.missing_before, missing))
        self.missing_before, more, self.lost = missing, lost - self.lost, lost
        return more


@dataclass(slots=True)
class Recorded:
    """What the looks at the recording have found. Pure."""

    began_ms: int
    """Wall time of the first look, in milliseconds since 1970: of publishers that start later, all numbers are judged."""
    after: int | None = None
    """Number of the last message that was looked at."""
    messages: Counter[str] = field(default_factory=Counter)
    readings: Counter[str] = field(default_factory=Counter)
    machines: Counter[str] = field(default_factory=Counter)
    gaps: int = 0
    _starts: dict[tuple[str, str], _Start] = field(default_factory=dict)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add the rows of `broker.contract.storage.questions.since`."""
        self.machines.clear()
        for row in rows:
            kind, name, count = row["kind"], row["name"], int(row["count"] or 0)
            if kind == "piece":
                self.after = max(self.after or 0, int(row["high"] or 0))
            elif kind == "publisher":
                self._judge(name, row["boot"], int(row["high"]), count)
            elif kind == "machines":
                self.machines[name if name in _STATUSES else OTHER] += count
            else:
                (self.messages if kind == "messages" else self.readings)[_SYSTEMS.get(name, OTHER)] += count

    def restart(self, newest: int | None, now_ms: int) -> None:
        """Begin again at the newest message; the counts stay."""
        self.after, self.began_ms = newest, now_ms
        self._starts.clear()

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics; nothing before the first look."""
        if self.after is None:
            return
        yield CounterMetricFamily("scaup_gaps", "Messages published during this watch and not recorded.", self.gaps)
        messages = CounterMetricFamily("scaup_system_messages", "Recorded messages of each system.", labels=["system"])
        readings = CounterMetricFamily("scaup_system_readings", "Those from devices.", labels=["system"])
        for system in sorted({*_SYSTEMS.values(), OTHER}):
            messages.add_metric([system], self.messages[system])
        for system in sorted({"heating", "machines", "charging", "energy", *self.readings}):
            readings.add_metric([system], self.readings[system])
        machines = GaugeMetricFamily("scaup_machines", "Machines that reported within a minute.", labels=["status"])
        for status in (*sorted(_STATUSES), OTHER):
            machines.add_metric([status], self.machines[status])
        yield from (messages, readings, machines)

    def _judge(self, source: str, boot: str, high: int, count: int) -> None:
        start = self._starts.pop((source, boot), None)
        if start is None:
            whole = _started_ms(boot) >= self.began_ms
            start = _Start(0, high) if whole else _Start(high, high, -count)
        self._starts[source, boot] = start  # the newest is last
        self.gaps += start.add(high, count)
        if len(self._starts) > MOST_STARTS:
            del self._starts[next(iter(self._starts))]


class Watch:
    """Looks at the recording while the metrics are read."""

    def __init__(self, recorder: RecorderClient) -> None:
        self._recorder = recorder
        self._read_s = float("-inf")
        self._wanted = asyncio.Event()
        self.recorded = Recorded(_now_ms())

    def read(self) -> None:
        """Note that the metrics were read."""
        self._read_s = time.monotonic()
        self._wanted.set()

    async def run(self, bus: Bus) -> None:
        """Look until cancelled."""
        while True:
            if time.monotonic() - self._read_s > READ_WITHIN_S:
                self._wanted.clear()
                await self._wanted.wait()
                self.recorded.restart(None, _now_ms())
            try:
                begins = await self._look(bus)
            except ClientError as error:
                log.info("look-failed", "the recording was not looked at: %(error)s", error=error)
                begins = False
            await asyncio.sleep(FIRST_LOOK_S if begins else LOOK_EVERY_S)

    async def _look(self, bus: Bus) -> bool:
        """Look once; return whether it was only noted where to begin."""
        after = self.recorded.after
        statement = questions.newest() if after is None else questions.since(after)
        request = QueryRequest(sql=statement.sql, parameters=statement.parameters, timeout_s=TIMEOUT_S)
        rows = await self._recorder.query(bus, request, TIMEOUT_S)
        if after is None:
            self.recorded.restart(rows[0]["number"], _now_ms())
        else:
            self.recorded.add(rows)
        return after is None


def _first_levels() -> dict[str, str]:
    """Return the system of each first level of its topics, `readings` for `/readings/…`."""
    return {
        stream.template.text.lstrip("/").partition("/")[0]: system.rpartition(".")[2]
        for system in systems()
        for stream in import_module(f"{system}.topics").STREAMS
    }


_SYSTEMS = _first_levels()
_STATUSES = frozenset(each.value for each in Status)


def _started_ms(boot: str) -> int:
    """Return when a start began, in milliseconds since 1970 (`broker.runtime.clock.new_boot`); 0 for anything else."""
    try:
        return int(boot[:12], 16)
    except ValueError:
        return 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
