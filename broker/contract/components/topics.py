"""Components: their presence and warnings, the messages that they rejected, and requests to forget a thing."""

from datetime import datetime
from enum import Enum

import msgspec

from broker.errors import Rejected
from broker.message import Message, Publication
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
    count: int = 1
    """Number of messages that it stands for: more than 1 where they came too fast to publish each one."""


class ComponentWarning(msgspec.Struct, frozen=True):
    """Retained on `components/{component}/warning` while a component has more to do than it can; removed when that is over."""

    text: str
    boot: str
    """The start of the component that published it: a warning of an earlier start does not count."""


class Forget(msgspec.Struct, frozen=True):
    """A request to forget a thing: its retained messages are removed; what was recorded of it stays."""

    kind: str
    """`room`, `machine`, `charger`, `ship` or `driver`."""
    name: str
    """As the topics have it."""


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
WARNING = Stream(
    template=TopicTemplate("components/{component}/warning"),
    payload=ComponentWarning,
    summary="any → all: a component cannot keep up; removed when that is over",
    retain=True,
)
FORGET = Stream(
    template=TopicTemplate("components/forget"),
    payload=Forget,
    summary="operator → all: forget a room, machine, charger, ship or driver",
)
STREAMS: tuple[AnyStream, ...] = (STATE, REJECTED, WARNING, FORGET)

OPERATOR_STREAMS: tuple[AnyStream, ...] = (FORGET,)
"""Operators may publish these."""


def read_forget(message: Message, kind: str) -> str | None:
    """Return the name in a request to forget a thing of this kind, None if it is of another kind.

    Raises:
        Rejected: it is no such request, was retained, or its name cannot be part of a topic.
    """
    request = FORGET.decode(message)
    if message.retain:
        raise Rejected("a retained request may be of any age: publish requests without the retain flag")
    if not request.name or any(character in request.name for character in "/+#\0"):
        raise Rejected(f"{request.name[:64]!r} cannot be the name of a thing")
    return request.name if request.kind == kind else None


def removal(stream: AnyStream, name: str) -> Publication:
    """Return the publication that removes the retained message of a stream whose topic has one name."""
    (level,) = stream.template.parameters
    return Publication(topic=stream.template.topic(**{level: name}), payload=b"", qos=stream.qos, retain=True)
