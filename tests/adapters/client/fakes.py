"""A recorder and a broker in memory. The recorder speaks the protocol by itself, so that it can catch the command line out."""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from adapters.cli.notices import hint, warn
from adapters.cli.session import open_file
from adapters.client.bus import Bus, Received
from adapters.client.errors import Refused, Unreachable
from adapters.client.session import Session
from broker.message import Publication
from broker.mqtt.topics import matches
from broker.runtime.settings import Settings
from broker.stamp import read_stamp

START_AT = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)

SCHEMA = """
CREATE TABLE messages (number BIGINT, received_at TIMESTAMPTZ, event_at TIMESTAMPTZ, topic VARCHAR, payload VARCHAR,
    payload_raw BLOB, qos UTINYINT, retain BOOLEAN, source VARCHAR, boot VARCHAR, seq BIGINT, packet_id USMALLINT);
CREATE TABLE room_temperature (received_at TIMESTAMPTZ, event_at TIMESTAMPTZ, room VARCHAR, sensor VARCHAR, celsius DOUBLE);
CREATE TABLE valve_level (received_at TIMESTAMPTZ, event_at TIMESTAMPTZ, room VARCHAR, level UTINYINT);
CREATE VIEW warm_room AS SELECT * FROM room_temperature WHERE celsius > 22;
"""

Answer = list[tuple[bytes, str | None, tuple[tuple[str, str], ...]]]


class FakeRecorder:
    """Answers `storage/query` from a database in memory, `rows_per_part` rows a part."""

    def __init__(self, rows_per_part: int = 3) -> None:
        self.database = duckdb.connect()
        self.database.execute(SCHEMA)
        self.rows_per_part = rows_per_part
        self.requests: list[dict[str, Any]] = []
        self.most_rows = 1_000_000
        self.silent = False
        self.lose_part: int | None = None
        self.error: dict[str, Any] | None = None
        self._count = 0

    def record(
        self, topic: str, payload: str | bytes, at: datetime | None = None, event_at: datetime | None = None, boot: str = "b"
    ) -> None:
        self._count += 1
        raw = payload if isinstance(payload, bytes) else None
        text = None if isinstance(payload, bytes) else payload
        received_at = at or START_AT + timedelta(seconds=self._count)
        row = [self._count, received_at, event_at, topic, text, raw, 1, False, "test", boot, self._count, 0]
        self.database.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def answer(self, payload: bytes) -> Answer:
        request = json.loads(payload)
        self.requests.append(request)
        if self.silent:
            return []
        if self.error:
            return [self._end(0, 0, error=self.error)]
        try:
            table = self.database.sql(request["sql"], params=request.get("parameters") or None).to_arrow_table()
        except duckdb.Error as error:
            return [self._end(0, 0, error={"kind": "invalid", "message": str(error), "position": 7})]
        most = min(request.get("max_rows") or self.most_rows, self.most_rows)
        kept = table.slice(0, most)
        parts = [part for part in self._parts(kept, request["format"]) if int(part[2][0][1]) != self.lose_part]
        count = len(self._slices(kept))
        return [*parts, self._end(kept.num_rows, count, columns=kept.column_names, truncated=table.num_rows > most)]

    def _slices(self, table: pa.Table) -> list[pa.Table]:
        return [table.slice(start, self.rows_per_part) for start in range(0, table.num_rows, self.rows_per_part)]

    def _parts(self, table: pa.Table, wanted: str) -> Answer:
        encoded = [arrow_stream(each) if wanted == "arrow" else _json(each) for each in self._slices(table)]
        kind = "application/vnd.apache.arrow.stream" if wanted == "arrow" else "application/json"
        return [(payload, kind, (("part", str(number)),)) for number, payload in enumerate(encoded, start=1)]

    @staticmethod
    def _end(rows: int, chunks: int, **more: Any) -> tuple[bytes, str | None, tuple[tuple[str, str], ...]]:
        end = {"rows": rows, "chunks": chunks, "elapsed_s": 0.001, "columns": [], "truncated": False, "error": None, **more}
        return json.dumps(end).encode(), "application/json", (("final", "true"), ("parts", str(chunks)))


def arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _json(table: pa.Table) -> bytes:
    return json.dumps(table.to_pylist(), default=str).encode()


@dataclass
class FakeBus:
    """One client's view of a broker in memory, with a recorder behind it."""

    recorder: FakeRecorder | None = None
    kept: dict[str, Received] = field(default_factory=dict)
    refuse: bool = False
    may_publish: tuple[str, ...] = ()
    answer_name: str = "scaup-cli-test"
    published: list[tuple[Publication, int | None]] = field(default_factory=list)
    posted: list[tuple[Publication, int]] = field(default_factory=list)
    idled_s: float = 0.0
    inbox: deque[Received] = field(default_factory=deque)
    filters: set[str] = field(default_factory=set)

    def retain(self, topic: str, payload: str) -> None:
        self.kept[topic] = Received(topic=topic, payload=payload.encode(), at=START_AT, retain=True)

    def connect(self, resume: bool = False) -> bool:
        return resume

    def subscribe(self, *filters: str) -> None:
        self.filters.update(filters)

    def retained(self, *filters: str) -> dict[str, Received]:
        return {topic: each for topic, each in self.kept.items() if any(matches(one, topic) for one in filters)}

    def publish(self, publication: Publication, expiry_s: int | None = None) -> bool:
        if self.refuse:
            raise Refused(f"the broker refused a message to {publication.topic}: not authorized (0x87)", "log in")
        self.published.append((publication, expiry_s))
        self.deliver(publication.topic, publication.payload, publication.correlation_data)
        if self.recorder is None:
            return False
        self.recorder.record(publication.topic, publication.payload.decode(), datetime.now(UTC))
        if publication.topic != "storage/query":
            return True
        for payload, content_type, user in self.recorder.answer(publication.payload):
            assert publication.response_topic is not None
            self.deliver(publication.response_topic, payload, publication.correlation_data, content_type, user)
        return True

    def send(self, publication: Publication) -> None:
        self.published.append((publication, None))

    def try_publish(self, publication: Publication) -> int:
        self.published.append((publication, None))
        return 0 if any(matches(each, publication.topic) for each in self.may_publish) else 0x87

    def post(self, publication: Publication, qos: int) -> None:
        if self.refuse:
            raise Refused(f"the broker refused a message to {publication.topic}: not authorized (0x87)", "log in")
        self.posted.append((publication, qos))

    def settle(self) -> None:
        pass

    def idle(self, duration_s: float) -> None:
        self.idled_s += duration_s

    def deliver(
        self,
        topic: str,
        payload: bytes,
        correlation_data: bytes | None = None,
        content_type: str | None = None,
        user: tuple[tuple[str, str], ...] = (),
    ) -> None:
        if any(matches(one, topic) for one in self.filters):
            self.inbox.append(
                Received(
                    topic=topic,
                    payload=payload,
                    at=START_AT,
                    qos=1,
                    correlation_data=correlation_data,
                    content_type=content_type,
                    properties=user,
                    stamp=read_stamp(user),
                )
            )

    def receive(self, timeout_s: float) -> Received | None:
        return self.inbox.popleft() if self.inbox else None


class FakeSession(Session):
    """A session on a fake bus; without one, no broker is there."""

    def __init__(self, bus: FakeBus | None = None, settings: Settings | None = None) -> None:
        super().__init__(open_file, hint, warn)
        self._bus = bus
        self.logins: dict[str | None, FakeBus] = {}
        self.__dict__["settings"] = settings or Settings.load({"SCAUP_DATA_DIR": "/nowhere"})

    @contextmanager
    def bus(self, session_expiry_s: int = 0, will: object = None) -> Iterator[Bus]:
        if self._bus is None:
            raise Unreachable("no broker at 127.0.0.1:1883: connection refused", "start it with `make up`")
        yield self._bus

    @contextmanager
    def login(self, account: str | None, password: str | None) -> Iterator[Bus]:
        if account not in self.logins:
            raise Refused(f"the broker refused the login of {account!r} (0x87)", "set the password")
        yield self.logins[account]


def recording_bus(rows_per_part: int = 3) -> FakeBus:
    """Return a bus on which a recorder is online."""
    bus = FakeBus(FakeRecorder(rows_per_part))
    bus.retain("components/recorder/state", '{"state":"online","boot":"b1","version":"0.1.0"}')
    return bus
