"""The web component with messages of every kind, so that every metric has a sample."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client.metrics_core import Metric

from adapters.listening import Listening
from adapters.web.broker import TOPICS
from adapters.web.component import Web
from adapters.web.declaration import PORT
from adapters.web.sign_in import SignIns
from adapters.web.tap import Tap
from broker.message import Message
from broker.mqtt.options import Address
from broker.runtime.clock import PlantClock
from tests.adapters.web.test_overview import state, stats

NOW_AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
HEATING = b'{"mode":"heating","error":0.1,"alarms":["no trustworthy sensor"],"sensors_left_out":{"a":"stale"}}'


def new_web() -> Web:
    """Return a component without a page: it is not connected."""
    address = Address(host="localhost", port=1)
    return Web(Listening(("127.0.0.1",), 0, PORT.name), Tap(address, "web-live"), SignIns(address, PlantClock()))


def filled() -> Web:
    web = new_web()
    for topic in TOPICS:
        web.on_message(Message(topic=topic, payload=b"1"), 0.0)
    for message in (stats(), state("heating"), Message(topic="heating/r/state", payload=HEATING)):
        web.on_message(message, 0.0)
    web._recording.recorded.restart(1, 0)
    web._certificate._read_at = NOW_AT
    web._certificate._not_after = NOW_AT + timedelta(days=90)
    return web


def families() -> Iterator[Metric]:
    """Yield every metric, each with a sample."""
    yield from filled()._figures(None, NOW_AT)
