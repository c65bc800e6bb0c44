"""Rejected messages: a payload that cannot be used is published whole, with the reason."""

import base64
from datetime import UTC, datetime

from broker.contract.components.topics import REJECTED, RejectedMessage
from broker.message import Publication

LARGEST_REJECTED_BYTES = 8 * 1024 * 1024


def rejection(component: str, topic: str, payload: bytes, reason: str) -> Publication:
    """Return the publication on `rejected/{component}` for a payload, whole up to 8 MiB; one that is not UTF-8 as base64.

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
