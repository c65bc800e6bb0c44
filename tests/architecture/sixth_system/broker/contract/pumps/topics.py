"""Pumps: topics and payloads."""

import msgspec

from broker.mqtt.topics import TopicTemplate
from broker.stream import AnyStream, Stream


class Flow(msgspec.Struct, frozen=True):
    """Measurement of a pump."""

    litres_per_min: float


class Limit(msgspec.Struct, frozen=True):
    """The flow that a pump shall not exceed."""

    litres_per_min: float


FLOW = Stream(template=TopicTemplate("pumps/{id}/flow"), payload=Flow, summary="pumps → all", plant=True)
LIMIT = Stream(template=TopicTemplate("pumps/{id}/limit"), payload=Limit, summary="operator → pumps", retain=True)

STREAMS: tuple[AnyStream, ...] = (FLOW, LIMIT)
OPERATOR_STREAMS: tuple[AnyStream, ...] = (LIMIT,)
