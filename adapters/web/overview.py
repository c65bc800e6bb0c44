"""The state of the whole system: its components, the recorder, and what follows for its health. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from broker.contract.components.topics import REJECTED, STATE, WARNING, ComponentState, ComponentWarning, Presence
from broker.contract.storage.topics import STATS, RecorderStats
from broker.errors import Rejected
from broker.message import Message

RECORDER = "recorder"
OLDEST_STATS_S = 10.0
"""The recorder reports once a second: after this time it is silent."""
SILENT_S = 1.8
"""A page shows earlier that the recorder is silent: within 2 s."""
MOST_COMPONENTS = 200

_COUNT = re.compile(rb'"count":(\d+)}\Z')
"""The end of a rejected message that stands for several. Such a message may have 8 MiB, so only its end is read."""


class Status(IntEnum):
    """How serious a finding is; the highest one of all is that of the whole."""

    OK = 0
    WARNING = 1
    FAILED = 2


Problem = tuple[Status, str]
"""How serious it is, and what is wrong, with its fix."""


@dataclass(slots=True)
class Component:
    """One component as it announces itself."""

    state: ComponentState | None = None
    warning: ComponentWarning | None = None
    starts: int = 0
    """Number of starts since this component was started."""
    rejected: int = 0

    @property
    def online(self) -> bool:
        """Whether it is subscribed and working."""
        return self.state is not None and self.state.state is Presence.ONLINE

    @property
    def current_warning(self) -> str | None:
        """Its warning, unless that is of an earlier start."""
        same = self.warning is not None and self.state is not None and self.warning.boot == self.state.boot
        return self.warning.text if same and self.warning is not None else None


@dataclass(slots=True)
class Overview:
    """Everything that components and the recorder report about themselves.

    Args:
        own: the component that this is part of, and its state.
        expected: the components that are to run; empty: all that have ever been online at this broker.
    """

    own: tuple[str, ComponentState]
    expected: tuple[str, ...] = ()
    stats: RecorderStats | None = None
    components: dict[str, Component] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.expected:
            self._component(name)
        self._component(self.own[0]).state = self.own[1]

    def take(self, message: Message) -> bool:
        """Take a message; return whether it is about components or the recorder.

        Raises:
            Rejected: it cannot be read.
        """
        if STATS.parse(message.topic) is not None:
            self.stats = STATS.decode(message)
        elif levels := STATE.parse(message.topic):
            self._take_state(levels["component"], message)
        elif levels := WARNING.parse(message.topic):
            self._component(levels["component"]).warning = WARNING.decode(message) if message.payload else None
        elif levels := REJECTED.parse(message.topic):
            self._component(levels["component"]).rejected += _count(message.payload)
        else:
            return False
        return True

    def needs(self, name: str) -> bool:
        """Return whether the system is only healthy with this component."""
        return name in self.expected if self.expected else name in self.components

    def problems(self, broker_error: str | None, now_at: datetime) -> Iterator[Problem]:
        """Yield what is wrong, with its fix. Without the broker, nothing else is known."""
        if broker_error is not None:
            yield Status.FAILED, f"broker: {broker_error}; see `scaup logs broker`"
            return
        for name, each in self.components.items():
            if self.needs(name) and not each.online:
                yield Status.FAILED, f"{name} is not online; see `scaup logs {name}`"
            elif each.online and each.current_warning is not None:
                yield Status.WARNING, f"{name}: {each.current_warning}"
        if self.needs(RECORDER):
            yield from self._recorder_problems(now_at)

    def interruptions(self, now_at: datetime) -> list[str]:
        """Return what keeps a page from being complete, for people: sentences about the recorder."""
        recorder = self.components.get(RECORDER)
        if recorder is None or not recorder.online:
            return ["The recorder is offline: nothing new is recorded, and history cannot be shown."]
        if self.stats is not None and _age_s(self.stats, now_at) > SILENT_S:
            return ["The recorder is silent: what happens now may not be recorded yet."]
        if self.stats is not None and self.stats.last_error is not None:
            return [f"The recorder cannot record: {self.stats.last_error}"]
        return []

    def health(
        self, broker_error: str | None, now_at: datetime, further: Iterable[Problem] = ()
    ) -> tuple[Status, dict[str, Any]]:
        """Return the status of the whole system, and the document that describes it; `further` problems are of others."""
        problems = [*self.problems(broker_error, now_at), *further]
        status = max((status for status, _ in problems), default=Status.OK)
        document = {
            "status": status.name.lower(),
            "problems": [{"status": status.name.lower(), "text": text} for status, text in problems],
            "broker": {"online": broker_error is None, "error": broker_error},
            "recorder": self._recorder(now_at),
            "components": [
                {
                    "name": name,
                    "state": each.state.state.value if each.state else "unknown",
                    "expected": self.needs(name),
                    "version": each.state.version if each.state else None,
                    "boot": each.state.boot if each.state else None,
                    "warning": each.current_warning,
                }
                for name, each in sorted(self.components.items())
            ],
        }
        return status, document

    def metrics(self, broker_error: str | None, now_at: datetime) -> Iterator[Metric]:
        """Yield the metrics of the broker's presence, of components and of the recorder."""
        yield GaugeMetricFamily("scaup_broker_up", "Whether the broker answers.", broker_error is None)
        up = GaugeMetricFamily("scaup_component_up", "Whether a component is online.", labels=["component"])
        info = GaugeMetricFamily("scaup_component_info", "Release of a component.", labels=["component", "version"])
        starts = CounterMetricFamily("scaup_component_starts", "Starts that were seen.", labels=["component"])
        warned = GaugeMetricFamily("scaup_component_warning", "Whether it cannot keep up.", labels=["component"])
        rejected = CounterMetricFamily("scaup_rejected", "Messages that it could not use.", labels=["component"])
        for name, each in sorted(self.components.items()):
            if self.needs(name):
                up.add_metric([name], each.online and broker_error is None)
            if each.state is not None:
                info.add_metric([name, each.state.version[:40]], 1)
            starts.add_metric([name], each.starts)
            warned.add_metric([name], each.current_warning is not None)
            untyped = self.stats.rejected if name == RECORDER and self.stats else 0
            rejected.add_metric([name], each.rejected + untyped)
        yield from (up, info, starts, warned, rejected)
        if self.stats is not None:
            yield from _recorder_metrics(self.stats, now_at)

    def _component(self, name: str) -> Component:
        if name not in self.components and len(self.components) >= MOST_COMPONENTS:
            raise Rejected(f"there are {MOST_COMPONENTS} components already, which is the limit")
        return self.components.setdefault(name, Component())

    def _take_state(self, name: str, message: Message) -> None:
        if not message.payload:
            self.components.pop(name, None)
            if name in self.expected:
                self._component(name)
            return
        state, component = STATE.decode(message), self._component(name)
        if component.state is not None and state.boot != component.state.boot:
            component.starts += 1
        component.state = state

    def _recorder_problems(self, now_at: datetime) -> Iterator[Problem]:
        if self.stats is None:
            yield Status.FAILED, "the recorder has not reported yet; see `scaup logs recorder`"
        elif (age_s := _age_s(self.stats, now_at)) > OLDEST_STATS_S:
            yield Status.FAILED, f"the recorder has been silent for {age_s:.0f} s; see `scaup logs recorder`"
        elif self.stats.last_error is not None:
            yield Status.FAILED, f"the recorder cannot record: {self.stats.last_error}; see `scaup logs recorder`"
        elif self.stats.warning is not None:
            yield Status.WARNING, f"recorder: {self.stats.warning}"

    def _recorder(self, now_at: datetime) -> dict[str, Any] | None:
        if self.stats is None:
            return None
        stats = self.stats
        return {
            "reported_s_ago": round(_age_s(stats, now_at), 1),
            "committed": stats.committed,
            "behind": _behind(stats),
            "commit_p99_s": stats.commit_p99_s,
            "free_bytes": stats.free_bytes,
            "error": stats.last_error,
            "warning": stats.warning,
        }


def _count(payload: bytes) -> int:
    match = _COUNT.search(payload[-40:])
    return int(match[1]) if match else 1


def _age_s(stats: RecorderStats, now_at: datetime) -> float:
    return max(0.0, (now_at - stats.at).total_seconds())


def _behind(stats: RecorderStats) -> int:
    return max(0, stats.received - stats.committed - stats.duplicates)


def _recorder_metrics(stats: RecorderStats, now_at: datetime) -> Iterator[Metric]:
    counters: Iterable[tuple[str, str, float]] = (
        ("scaup_messages_received", "Messages that the recorder has received", stats.received),
        ("scaup_messages_recorded", "Messages that it has committed", stats.committed),
        ("scaup_messages_acknowledged", "Messages that it has acknowledged to the broker", stats.acknowledged),
        ("scaup_messages_duplicate", "Messages that came again and were recorded once", stats.duplicates),
        ("scaup_messages_dropped", "Messages of QoS 0 for which there was no memory", stats.dropped),
    )
    gauges: Iterable[tuple[str, str, float]] = (
        ("scaup_recorder_behind_messages", "Messages received and not committed yet", _behind(stats)),
        ("scaup_recorder_queued_messages", "Messages of the batch that waits for its commit", stats.queued),
        ("scaup_recorder_error", "Whether it cannot commit now", stats.last_error is not None),
        ("scaup_recorder_warning", "Whether it warns: clock, archive or disk", stats.warning is not None),
        ("scaup_recorder_report_age_seconds", "Time since its last report", _age_s(stats, now_at)),
        ("scaup_database_bytes", "Size of the database", stats.database_bytes),
        ("scaup_database_wal_bytes", "Size of its write-ahead log", stats.wal_bytes),
        ("scaup_disk_free_bytes", "Free space on the disk of the recording", stats.free_bytes),
    )
    for name, text, value in counters:
        yield CounterMetricFamily(name, f"{text}.", value)
    for name, text, value in gauges:
        yield GaugeMetricFamily(name, f"{text}.", value)
    text = "Time from the arrival of a batch's first message to its commit, over the last minute."
    seconds = Metric("scaup_commit_seconds", text, "summary")
    seconds.add_sample("scaup_commit_seconds", {"quantile": "0.5"}, stats.commit_p50_s)
    seconds.add_sample("scaup_commit_seconds", {"quantile": "0.99"}, stats.commit_p99_s)
    yield seconds
