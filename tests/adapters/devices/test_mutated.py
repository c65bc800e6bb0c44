"""Payloads that are broken in many ways: none invents a reading, and each malformed one is rejected."""

import json
import math
import random
from datetime import UTC, datetime
from typing import Any

from adapters.devices.declarations import read_file
from adapters.devices.mapper import Mapper

TEXT = """
[sensor.plain]
from = "d/plain"
room = "plain"
value = "a.b.t"
range = [-20, 60]

[sensor.timed]
from = "d/timed"
room = "timed"
value = "a.b.t"
time = "at"

[machine.m]
from = "d/machine"
machine = 7
value.temperature = "a.b.t"
value.fan_speed = { of = "a.list.1", number = true }
value.status = { of = "s", map = { run = "STARTED", stop = "IDLE" } }

[table.t]
from = "d/table"
value.t = { of = "a.b.t", type = "double" }
value.s = { of = "s", type = "varchar" }
"""
GOOD = {"a": {"b": {"t": 21.5}, "list": [1, "2.5"]}, "s": "run", "at": "2026-12-01T10:00:00Z", "other": {"x": [None, True]}}
NOW_AT = datetime(2026, 12, 1, 12, tzinfo=UTC)
STRANGE: list[Any] = [
    None, True, False, "", "x", "21.5", "NaN", "-", [], {}, [[]], {"t": 1}, 0, -0.0, 1e308, -1e308, 10**400, 2**63, 1e-320,
    "2026-13-01T00:00:00Z", "2099-01-01T00:00:00Z", 9e15, -1, 1.7e9, 1.7e12, "é" * 50,
]  # fmt: skip


def _mutated(chance: random.Random) -> bytes:
    document = json.loads(json.dumps(GOOD))
    for _ in range(chance.randint(0, 3)):
        node: Any = document
        while isinstance(node, (dict, list)) and node:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = chance.choice(keys)
            if chance.random() < 0.4 or not isinstance(node[key], (dict, list)):
                if chance.random() < 0.3:
                    del node[key]
                else:
                    node[key] = chance.choice(STRANGE)
                break
            node = node[key]
    payload = bytearray(json.dumps(document).encode())
    kind = chance.random()
    if kind < 0.1:
        del payload[chance.randrange(len(payload)) :]
    elif kind < 0.2:
        payload[chance.randrange(len(payload))] = chance.randrange(256)
    elif kind < 0.25:
        payload = payload.replace(b"21.5", chance.choice([b"NaN", b"Infinity", b"1e999", b"021", b"+1", b"1_0", b"0x1"]))
    elif kind < 0.27:
        payload = bytearray(b"[" * chance.choice([10, 300, 100_000]))
    elif kind < 0.272:
        payload = bytearray(b'{"a":{"b":{"t":20}},"pad":"' + b"x" * 2**20 + b'"}')
    return bytes(payload)


def _number(document: Any) -> float | None:
    """Return the number at the path, if it is one."""
    try:
        found = document["a"]["b"]["t"]
        return found if type(found) in (int, float) and math.isfinite(float(found)) else None
    except (KeyError, TypeError, IndexError, OverflowError):
        return None


def test_10_000_mutated_payloads() -> None:
    mapper, chance = Mapper(), random.Random(17)
    mapper.use(read_file("f.toml", TEXT))
    mapped = rejected = ignored = 0
    for _ in range(10_000):
        name = chance.choice(("plain", "timed", "machine", "table"))
        payload = _mutated(chance)
        taken = mapper.take(f"d/{name}", payload, False, NOW_AT, NOW_AT)
        mapper.newest.clear()
        mapped += bool(taken.publications)
        rejected += taken.reason is not None
        ignored += not taken.publications and taken.reason is None
        assert not (taken.publications and taken.reason)
        for each in taken.publications:
            expected = _number(json.loads(payload))
            body = json.loads(each.payload)
            assert body.get("value", body.get("temperature")) == expected
            assert each.plant_at is not None
            assert each.plant_at <= NOW_AT
        if not _is_json(payload):
            assert taken.reason is not None
    assert min(mapped, rejected) > 1_500
    assert ignored > 300
    counts = [mapper.counts[each] for each in mapper.counts]
    assert sum(each.rejected for each in counts) == rejected
    assert sum(each.mapped + each.ignored + each.rejected for each in counts) == 10_000


def _is_json(payload: bytes) -> bool:
    def refuse(text: str) -> None:
        raise ValueError(text)

    try:
        json.loads(payload.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True
