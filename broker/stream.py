"""A stream: a family of topics with one payload shape, and how it is published."""

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from broker.message import Message, Publication, decode, encode
from broker.mqtt.topics import TopicTemplate

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream(Generic[P]):
    """One row of the topic table: the topics, the payload, the publisher and the receivers.

    `payload` is a `msgspec.Struct`; `plant` marks messages that describe the plant and so carry `plant-time`.
    """

    template: TopicTemplate
    payload: type[P]
    summary: str
    qos: Literal[0, 1] = 1
    retain: bool = False
    plant: bool = False

    def publication(self, payload: P, **levels: str) -> Publication:
        """Build the publication of `payload` on the topic that `levels` name.

        Raises:
            InvalidTopic: a level is missing or cannot be part of a topic.
        """
        topic = self.template.topic(**levels)
        return Publication(topic=topic, payload=encode(payload), qos=self.qos, retain=self.retain, plant=self.plant)

    def parse(self, topic: str) -> dict[str, str] | None:
        """Return the named levels of a topic of this stream, None for any other topic."""
        return self.template.parse(topic)

    def decode(self, message: Message) -> P:
        """Decode the payload of a message of this stream.

        Raises:
            Rejected: it is not JSON, or not of this stream's shape.
        """
        return decode(message.payload, self.payload)


AnyStream = Stream[Any]
