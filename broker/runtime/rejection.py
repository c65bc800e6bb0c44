"""Rejected messages: a payload that cannot be used is published on `rejected/{component}` with the reason, cut at 8 MiB.

A component raises `Rejected`, and `Runtime._reject` (`runtime.py`) publishes the message. What does not arrive over MQTT is
rejected where it is decoded: frames of chargers in `adapters/chargers/clients.py`, HTTP bodies in
`adapters/energy_api/routes.py`. The recorder lists all of it in the table `rejected_message`, and adds payloads that do not
fit a typed table (`storage/schema/typed_streams.py`), which it does not publish.
"""

import base64
from datetime import UTC, datetime

from broker.contract.components.topics import REJECTED, RejectedMessage
from broker.message import Publication

LARGEST_REJECTED_BYTES = 8 * 1024 * 1024


def rejection(component: str, topic: str, payload: bytes, reason: str) -> Publication:
    """Return the publication for a payload, cut at 8 MiB; one that is not UTF-8 is in base64.

    Args:
        component: name of the component that could not use it.
        topic: topic it arrived on, or would have been published to.
        payload: as received.
        reason: text for people.
    """
    kept = payload[:LARGEST_REJECTED_BYTES]
    size = len(payload) if len(payload) > len(kept) else None
    try:
        text, encoding = kept.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(kept).decode(), "base64"
    message = RejectedMessage(topic=topic, reason=reason, payload=text, at=datetime.now(UTC), encoding=encoding, size=size)
    return REJECTED.publication(message, component=component)
