"""Components: their presence, and the messages that they rejected."""

from datetime import datetime
from enum import Enum

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream


class Presence(Enum):
    """Whether a component is subscribed and working."""

    ONLINE = "online"
    OFFLINE = "offline"


class ComponentState(msgspec.Struct, frozen=True):
    """Retained on `components/{component}/state`; the broker publishes `offline` for a component that dies."""

    state: Presence
    boot: str
    version: str


class RejectedMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that could not be used, whole.

    `payload` is the text as received; if it was not UTF-8, it is in base64, and `encoding` is `base64`. A payload
    of more than 8 MiB is cut there, and `size` is its length in bytes; the recorder keeps it whole in `messages` in any case.
    """

    topic: str
    reason: str
    payload: str
    at: datetime
    encoding: str = "utf-8"
    size: int | None = None


STATE = Stream(
    template=TopicTemplate("components/{component}/state"),
    payload=ComponentState,
    summary="every component (last will `offline`)",
    retain=True,
)
REJECTED = Stream(
    template=TopicTemplate("rejected/{component}"),
    payload=RejectedMessage,
    summary="any → all: a message that could not be used, whole, with the reason",
)
STREAMS: tuple[AnyStream, ...] = (STATE, REJECTED)
