"""Messages of machines, as they come."""

import json
from typing import Any

from broker.message import Message

READING: dict[str, Any] = {
    "id": 1,
    "name": "DELL G450",
    "description": "Machine for processing ",
    "temperature": 30.21,
    "fan_speed": 811.62,
    "status": "COMPLETED",
    "timestamp": "2024-11-03T13:40:45.015069+00:00",
}
AVERAGE = b'{"average_temperature":20.18,"average_speed":899.64,"status":"IDLE"}'


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def reading(machine: int = 1, **changed: Any) -> Message:
    return raw_reading(compact({**READING, "id": machine, **changed}), str(machine))


def raw_reading(payload: bytes, machine: str = "1") -> Message:
    return Message(topic=f"machines/{machine}/reading", payload=payload)


def average(payload: bytes = AVERAGE, machine: str = "1") -> Message:
    return Message(topic=f"machines/{machine}/average", payload=payload, retain=True)
