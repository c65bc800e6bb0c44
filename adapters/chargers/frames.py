"""What chargers send, checked at the edge. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from adapters.chargers.session import Incoming
from broker.contract.charging.topics import SocEvent
from broker.errors import Rejected
from broker.message import decode

LARGEST_SOC_BYTES = 64 * 1024
_QUOTATION_MARKS = 8
"""In a frame that has nothing but what is documented."""


def check_soc(message: Incoming) -> None:
    """Check a charger's message: text, JSON, the documented event with a state of charge from 0 to 100.

    Raises:
        Rejected: it is something else; the reason says what.
    """
    if not message.text:
        raise Rejected("a binary frame: a charger sends text")
    if len(message.payload) > LARGEST_SOC_BYTES:
        raise Rejected(f"a frame of {len(message.payload)} bytes: {LARGEST_SOC_BYTES} are accepted")
    decode(message.payload, SocEvent)
    if message.payload.count(b'"') > _QUOTATION_MARKS or b"\\" in message.payload:
        _check_names(message.payload)


def _check_names(payload: bytes) -> None:
    """Refuse a name that is there twice: of two values, one reader takes the first and another one the last."""
    try:
        json.loads(payload, object_pairs_hook=_no_doubles)
    except RecursionError:
        raise Rejected("it is nested too deeply") from None


def _no_doubles(members: Sequence[tuple[str, Any]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise Rejected("a name is there twice: which value counts?")
