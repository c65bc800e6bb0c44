from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.packets import Delivery
from storage.batch import Received
from storage.commit import Database

Deliver = Callable[..., Received]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "scaup.duckdb", memory_mb=256, min_free_mb=1)
    yield opened
    opened.close()


@pytest.fixture
def deliver() -> Deliver:
    """Make deliveries that arrive a microsecond apart, with packet identifiers 1, 2, 3…"""
    count = 0

    def make(topic: str, payload: bytes, qos: int = 1, **changes: object) -> Received:
        nonlocal count
        count += 1
        fields: dict[str, object] = {"retain": False, "dup": False, "packet_id": count if qos else 0, "properties": b""}
        return Received(1_800_000_000_000_000 + count, Delivery(topic, payload, qos, **{**fields, **changes}))  # type: ignore[arg-type]

    return make
