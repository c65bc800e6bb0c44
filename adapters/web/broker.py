"""The broker's own figures, from its topics below `$SYS`. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

VERSION = "$SYS/broker/version"
_COUNTERS = {
    "$SYS/broker/messages/received": ("scaup_broker_messages_received", "MQTT packets that the broker has received"),
    "$SYS/broker/messages/sent": ("scaup_broker_messages_sent", "MQTT packets that the broker has sent"),
    "$SYS/broker/publish/messages/received": ("scaup_broker_publications_received", "Publications that it has received"),
    "$SYS/broker/publish/messages/dropped": ("scaup_broker_publications_dropped", "Publications lost: queues were full"),
    "$SYS/broker/bytes/received": ("scaup_broker_received_bytes", "Bytes that it has received"),
    "$SYS/broker/bytes/sent": ("scaup_broker_sent_bytes", "Bytes that it has sent"),
}
_GAUGES = {
    "$SYS/broker/uptime": ("scaup_broker_uptime_seconds", "Time since the broker started"),
    "$SYS/broker/clients/connected": ("scaup_broker_connections", "Clients that are connected to it"),
    "$SYS/broker/clients/disconnected": ("scaup_broker_sessions_waiting", "Sessions whose client is not connected"),
    "$SYS/broker/subscriptions/count": ("scaup_broker_subscriptions", "Subscriptions of all clients"),
    "$SYS/broker/retained messages/count": ("scaup_broker_retained_messages", "Retained messages"),
    "$SYS/broker/store/messages/count": ("scaup_broker_stored_messages", "Messages in memory: retained and queued"),
    "$SYS/broker/store/messages/bytes": ("scaup_broker_stored_bytes", "Size of their payloads"),
}
TOPICS = frozenset((VERSION, *_COUNTERS, *_GAUGES))
"""Published by Mosquitto every 5 s (`sys_interval` in `mosquitto.conf`)."""

_NUMBER = re.compile(rb"\d+")


@dataclass(slots=True)
class BrokerFigures:
    """The newest value of each topic."""

    version: str | None = None
    values: dict[str, int] = field(default_factory=dict)

    def take(self, topic: str, payload: bytes) -> None:
        """Take a message; those that are not in `TOPICS` are ignored. The uptime is followed by its unit."""
        if topic == VERSION:
            self.version = payload.decode(errors="replace")[:100]
        elif topic in TOPICS and (match := _NUMBER.match(payload)) is not None:
            self.values[topic] = int(match[0])

    def summary(self) -> dict[str, Any]:
        """Return its version, the time since its start, s, and the number of connected clients; None where not known."""
        uptime, clients = (self.values.get(f"$SYS/broker/{each}") for each in ("uptime", "clients/connected"))
        return {"version": self.version, "uptime_s": uptime, "clients": clients}

    def metrics(self) -> Iterator[Metric]:
        """Yield what is known."""
        for topic, (name, text) in _COUNTERS.items():
            if topic in self.values:
                yield CounterMetricFamily(name, f"{text}.", self.values[topic])
        for topic, (name, text) in _GAUGES.items():
            if topic in self.values:
                yield GaugeMetricFamily(name, f"{text}.", self.values[topic])
