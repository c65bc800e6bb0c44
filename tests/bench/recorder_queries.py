"""Queries on a month of a thousand sensors: inside DuckDB, through the recorder, and while the recorder drains a backlog."""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from adapters.cli.commands import last
from adapters.client.history import COLUMNS, History
from broker.contract.sql import selection
from broker.runtime.settings import ROOT
from storage.database.database import Database
from storage.query.sandbox import open_read_only
from tests.bench.figures import Figure, Target, below, progress
from tests.bench.recorder_backlog import Fleet, publish_all
from tests.bench.recorder_operator import Operator, create_session
from tests.bench.recorder_world import running_broker, running_recorder
from tests.real_broker import RealBroker

MESSAGES = 10_000_000
SENSORS = 1_000
DAYS = 31
BACKLOG = 300_000
INTERLEAVED = 20
"""Queries in one backlog; the recorder lets fewer than 25 of one client wait."""
_REPEATS = 7
_STEP = 1_000_000
_ROOM = {"room": "room-500"}
_LAST_TYPED = "SELECT room, sensor, arg_max(celsius, received_at) AS celsius FROM room_temperature GROUP BY ALL"
_LAST_RAW = "SELECT topic, arg_max(payload, received_at) AS payload FROM messages GROUP BY topic"
_LAST_BY_NUMBER = """
SELECT topic, payload FROM messages WHERE number IN (SELECT max(number) FROM messages GROUP BY topic)
"""
_HOURLY = """
SELECT time_bucket(INTERVAL 1 HOUR, received_at) AS hour, avg(celsius) AS celsius FROM room_temperature
WHERE room = $room AND sensor = 'sensor-1' GROUP BY hour ORDER BY hour
"""
_DRAINED = """
SELECT count(*) AS messages, epoch(max(received_at) - min(received_at)) AS took_s FROM messages
WHERE starts_with(topic, '/readings/drained-') AND received_at > make_timestamptz($since_us::BIGINT)
"""


@dataclass(frozen=True, slots=True)
class Question:
    """One query, and how long it may take."""

    name: str
    sql: str
    target: Target
    parameters: dict[str, Any] = field(default_factory=dict)


def queries(scale: float) -> list[Figure]:
    """Time everything on one generated database."""
    count = round(MESSAGES * scale)
    with running_broker() as broker:
        generate(broker.settings.database, count)
        size_mb = broker.settings.database.stat().st_size / 1e6
        inside = [_inside(broker.settings.database, each) for each in _questions()]
        with running_recorder(broker), Operator(broker) as operator:
            operator.wait_until_online()
            queries = [_over_mqtt(operator, each) for each in _questions()]
            command_s = median(_command_s(broker) for _ in range(3))
        return [
            Figure(f"queries: database of {count:,} messages", size_mb, "MB"),
            *inside,
            *queries,
            Figure("queries: the whole command `scaup tail`", 1000 * command_s, "ms"),
            *_under_load(broker, scale),
        ]


def _questions() -> list[Question]:
    tail_one = History(topic_filter="/readings/room-500/temperature", lines=10).request()
    tail_all = History(topic_filter="/readings/#", lines=10).request()
    of_each, last_parameters = _last_command()
    return [
        Question("last value per topic, typed", _LAST_TYPED, below(150, "ms")),
        Question("last payload per topic, raw", _LAST_RAW, below(150, "ms")),
        Question("last payload per topic, by number", _LAST_BY_NUMBER, below(150, "ms")),
        Question("the query of `scaup last`", of_each, below(150, "ms"), last_parameters),
        Question("hourly means of a sensor over a month", _HOURLY, below(100, "ms"), _ROOM),
        Question("the query of `scaup tail`, one topic", tail_one.sql, below(100, "ms"), dict(tail_one.parameters)),
        Question("the query of `scaup tail`, /readings/#", tail_all.sql, below(100, "ms"), dict(tail_all.parameters)),
    ]


def _last_command() -> tuple[str, dict[str, Any]]:
    condition = selection("/readings/#", None)
    sql = last._SQL.format(shown=", ".join(COLUMNS), condition=condition.sql)
    return sql, condition.parameters


def _inside(path: Path, question: Question) -> Figure:
    """Give the median of some runs in this process."""
    times_ms = []
    with open_read_only(path) as connection:
        for _ in range(_REPEATS):
            began_s = time.perf_counter()
            connection.sql(question.sql, params=question.parameters or None).to_arrow_table()
            times_ms.append(1000 * (time.perf_counter() - began_s))
    return Figure(f"queries: {question.name}, inside DuckDB", median(times_ms), "ms", question.target)


def _over_mqtt(operator: Operator, question: Question) -> Figure:
    """Give the median of some runs from the query to the complete answer, in Arrow as for the command line."""
    times_ms = [1000 * operator.ask(question.sql, question.parameters, "arrow")[1] for _ in range(_REPEATS)]
    return Figure(f"queries: {question.name}, over MQTT", median(times_ms), "ms", question.target)


def _command_s(broker: RealBroker) -> float:
    command = [str(Path(sys.executable).with_name("scaup")), "tail", "/readings/room-500/temperature"]
    began_s = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=broker.environment, stdout=subprocess.DEVNULL, check=True, timeout=60)
    return time.perf_counter() - began_s


def _under_load(broker: RealBroker, scale: float) -> list[Figure]:
    """Drain equal backlogs into the same database, the second of three with queries in it."""
    count = round(BACKLOG * scale)
    create_session(broker)
    rates = [_drain(broker, count, queries) for queries in (0, INTERLEAVED, 0)]
    without_queries = (rates[0] + rates[2]) / 2
    return [
        Figure("under load: drain without queries", without_queries, "msg/s"),
        Figure(f"under load: drain with {INTERLEAVED} queries for the last value per topic", rates[1], "msg/s"),
        Figure("under load: what the queries leave of the rate", rates[1] / without_queries, "×"),
    ]


def _drain(broker: RealBroker, count: int, queries: int) -> float:
    """Return messages per second, from the arrival of the first message to that of the last one in the recorder.

    The queries lie in the backlog, evenly: a query waits until what came before it is committed.
    """
    since_us = time.time_ns() // 1000
    with Operator(broker) as operator:
        for part in range(queries or 1):
            fleet = Fleet(10, first=part * count, prefix="drained-")
            publish_all(broker.host, broker.port, fleet, count // (queries or 1))
            operator.post(_LAST_TYPED if queries else "SELECT 1")
        with running_recorder(broker):
            operator.answer()
            rows, _ = operator.ask(_DRAINED, {"since_us": since_us})
    progress(f"drain with {queries} queries: {rows[0]['messages']} messages in {rows[0]['took_s']:.2f} s")
    return float(rows[0]["messages"] / rows[0]["took_s"])


def generate(path: Path, count: int) -> None:
    """Fill a new database with readings of a thousand sensors, in the order of their arrival over 31 days."""
    Database(path, 1024, 1).close()
    with duckdb.connect(str(path), config={"memory_limit": "2GB", "checkpoint_threshold": "1GB"}) as connection:
        for first in range(0, count, _STEP):
            insert(connection, first, min(first + _STEP, count), DAYS * 86_400 / count)
            progress(f"generated {min(first + _STEP, count):,} messages")
        connection.execute("CHECKPOINT")


def insert(connection: duckdb.DuckDBPyConnection, first: int, end: int, every_s: float) -> None:
    """Insert readings with the numbers from `first` to before `end`, raw and typed, `every_s` apart and ending now."""
    raw = {
        "number": "n + 1",
        "received_at": f"now() - to_seconds((31 * 86400 - n * {every_s}))",
        "topic": f"'/readings/room-' || (n % {SENSORS} + 1) || '/temperature'",
        "payload": """'{"sensorID":"sensor-1","type":"temperature","value":' || celsius || '}'""",
        "qos": "1",
        "retain": "false",
        "session": "1",
        "packet_id": "n % 65535 + 1",
    }
    typed = {name: raw[name] for name in ("number", "received_at")}
    typed |= {"room": f"'room-' || (n % {SENSORS} + 1)", "sensor": "'sensor-1'", "celsius": "celsius"}
    celsius = "round(20 + 3 * sin(range / 1e5) + hash(range) % 100 / 100, 2)"
    source = f"(SELECT range AS n, {celsius} AS celsius FROM range({first}, {end}))"
    for table, values in (("messages", raw), ("room_temperature", typed)):
        schema, columns = _columns(connection, table)
        named = [name for name in values if name in columns]
        chosen = ", ".join(values[name] for name in named)
        connection.execute(f"INSERT INTO {schema}.{table} ({', '.join(named)}) SELECT {chosen} FROM {source}")


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[str, set[str]]:
    """Return the schema with the rows of a table, and its columns."""
    rows = connection.execute(
        "SELECT table_schema, column_name FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE table_name = ? AND table_type = 'BASE TABLE'",
        [table],
    ).fetchall()
    return rows[0][0], {name for _, name in rows}
