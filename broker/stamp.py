"""The stamp of every publication of ours, in user properties: its source, which start of it, and the message's number."""

from dataclasses import dataclass
from datetime import UTC, datetime

from broker.mqtt.packets import UserProperties

CAUSE = "cause"
"""User property: one for each message that a publication follows from, the most important first."""
TICK = "tick"
"""The cause of what a component publishes because time has passed."""
MOST_CAUSES = 8


@dataclass(frozen=True, slots=True)
class Stamp:
    """Origin of a message as its publisher states it; each part may be missing.

    `plant_at` is the instant of plant time that the message describes.
    """

    source: str | None = None
    boot: str | None = None
    seq: int | None = None
    plant_at: datetime | None = None

    @property
    def reference(self) -> str | None:
        """How a cause names the message, `source/boot/seq`; None where the stamp is not whole."""
        if self.source is None or self.boot is None or self.seq is None:
            return None
        return f"{self.source}/{self.boot}/{self.seq}"

    def user_properties(self) -> UserProperties:
        """Return the stamp as MQTT 5 user properties."""
        parts = (
            ("source", self.source),
            ("boot", self.boot),
            ("seq", None if self.seq is None else str(self.seq)),
            ("plant-time", None if self.plant_at is None else rfc3339(self.plant_at)),
        )
        return tuple((name, value) for name, value in parts if value is not None)


NO_STAMP = Stamp()

HISTORY = "history-"
"""The `boot` of simulated history begins with it: of messages about a past that a simulator made up at its first start. They
have the source of the simulator, numbers of their own, and a `plant-time` in the past. Made-up charging sessions have
names that begin with it too.
"""


def is_history(boot: str | None) -> bool:
    """Return whether the messages of this start are simulated history."""
    return boot is not None and boot.startswith(HISTORY)


def read_stamp(user: UserProperties) -> Stamp:
    """Read a stamp from user properties. Values that Scaup would not write are ignored: others may use these names too."""
    if not user:
        return NO_STAMP
    named = dict(user)
    return Stamp(named.get("source"), named.get("boot"), _number(named.get("seq")), _instant(named.get("plant-time")))


def read_causes(user: UserProperties) -> list[str] | None:
    """Return the causes in user properties, `MOST_CAUSES` at most, None where there are none."""
    return [value for name, value in user if name == CAUSE][:MOST_CAUSES] or None


def rfc3339(instant: datetime) -> str:
    """Format an aware instant in UTC with microseconds, such as `2026-01-31T08:00:00.000000Z`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo else None
    except (ValueError, OverflowError):  # the year 1 with an offset is before all instants
        return None
