"""Detection of drift: the payloads of a typed stream no longer match their declaration. They are recorded raw all the same."""

import math
import time
from datetime import UTC, datetime
from typing import Literal

from duckdb import DuckDBPyConnection, Error

from broker.contract.sql import literal
from broker.contract.storage.topics import Drift
from broker.log import Log
from storage.database.batch import Statements
from storage.schema.typed_streams import TYPED_STREAMS

log = Log(__name__)

_MAX_CHANGES = 1_000
"""Changes reported in one run: a device that invents a field with each message is not worth more."""
_MAX_SHAPES = 100
_MAX_SAMPLE = 1_000
"""Messages of a batch that are examined: all at moderate rates, under full load a sample spread over the batch."""
_TYPES_PAUSE_S = 1.0
"""Under full load, where batches are larger than the sample, types are examined so often at most: it takes 0.3 µs a message."""

_SAMPLE = f"""
FROM (SELECT stream, CASE WHEN json_valid(payload) THEN payload END AS payload FROM batch
    WHERE stream >= 0 AND number % (SELECT count(*) // {_MAX_SAMPLE} + 1 FROM batch) = 0)
GROUP BY ALL LIMIT {_MAX_SHAPES}
"""
_FIELDS = f"SELECT stream, json_keys(payload) AS fields {_SAMPLE}"
_TYPES = """
SELECT CASE WHEN json_valid(payload) THEN json_type(payload, $pointer) END AS found, min(topic) AS topic FROM batch
WHERE stream = $stream GROUP BY found HAVING found IS NOT NULL
"""
_NUMBER = "U?(BIG|HUGE)INT|DOUBLE"
_JSON = {"VARCHAR": "string", "BOOLEAN": "boolean", "NULL": "null", "OBJECT": "object", "ARRAY": "array"}


class DriftDetector:
    """Finds each change once: it remembers which ones were reported."""

    def __init__(self) -> None:
        self._reported: set[tuple[int, str, str]] = set()
        self._known = [set(typed.keys) for typed in TYPED_STREAMS]
        self._declared = [tuple(typed.keys) for typed in TYPED_STREAMS]
        each = (f"WHEN {code} THEN {_types(fields)}" for code, fields in enumerate(self._declared))
        self._types_at_s = -math.inf
        self._types_sql = f"SELECT stream, CASE stream {' '.join(each)} END AS types {_SAMPLE}"

    def detect(self, statements: Statements, rows: int, rejected: int) -> tuple[Drift, ...]:
        """Return the changes that appear for the first time in the view `batch`.

        Args:
            statements: show the batch.
            rows: rows of the batch.
            rejected: how many of them were rejected.
        """
        if len(self._reported) >= _MAX_CHANGES:
            return ()
        try:
            drifts = self._new_fields(statements) + (self._optional_types(statements) if self._is_time_for_types(rows) else [])
            return tuple(drifts + (self._other_types(statements.connection) if rejected else []))
        except Error as error:
            log.warning("drift-not-compared", "the shape of payloads was not compared: %(error)s", error=error)
            return ()

    def _new_fields(self, statements: Statements) -> list[Drift]:
        drifts = []
        for code, fields in statements.run("fields", _FIELDS):
            for field in set(fields or ()) - self._known[code]:
                self._known[code].add(field)
                drifts += self._changes(statements.connection, code, field, "new field")
        return drifts

    def _is_time_for_types(self, rows: int) -> bool:
        now_s = time.monotonic()
        if rows > _MAX_SAMPLE and now_s < self._types_at_s + _TYPES_PAUSE_S:
            return False
        self._types_at_s = now_s
        return True

    def _optional_types(self, statements: Statements) -> list[Drift]:
        """Return the changes of types in a sample: where a field is optional, no row is rejected for them."""
        changed = {
            (code, field)
            for code, types in statements.run("types", self._types_sql)
            if types is not None  # of a payload that is no JSON
            for field, found in zip(self._declared[code], types, strict=True)
            if found is not None and self._is_new(code, field, _json_type(found))
        }
        return [
            drift
            for code, field in sorted(changed)
            for drift in self._changes(statements.connection, code, field, "type changed")
        ]

    def _is_new(self, code: int, field: str, found: str) -> bool:
        expected = {_json_type(name) for name in TYPED_STREAMS[code].keys[field]}
        return found not in expected and (code, field, found) not in self._reported

    def _other_types(self, connection: DuckDBPyConnection) -> list[Drift]:
        present = connection.execute("SELECT DISTINCT stream FROM batch WHERE stream >= 0").fetchall()
        return [
            drift
            for (code,) in present
            for field in TYPED_STREAMS[code].keys
            for drift in self._changes(connection, code, field, "type changed")
        ]

    def _changes(
        self, connection: DuckDBPyConnection, code: int, field: str, change: Literal["new field", "type changed"]
    ) -> list[Drift]:
        typed = TYPED_STREAMS[code]
        expected = {_json_type(name) for name in typed.keys.get(field, ())}
        pointer = _pointer(field)
        drifts = []
        for name, topic in connection.execute(_TYPES, {"pointer": pointer, "stream": code}).fetchall():
            found = _json_type(name)
            if found not in expected and (code, field, found) not in self._reported:
                self._reported.add((code, field, found))
                at, stream = datetime.now(UTC), typed.stream.template.text
                drifts.append(Drift(at, stream, topic, field, change, sorted(expected), found))
        return drifts


def _types(fields: tuple[str, ...]) -> str:
    """Return the SQL of the types of declared fields: a number is of one type, so that a sample has few shapes."""
    pointers = ", ".join(literal(_pointer(field)) for field in fields)
    return f"[regexp_replace(x, '{_NUMBER}', 'DOUBLE') FOR x IN json_type(payload, [{pointers}])]"


def _pointer(field: str) -> str:
    return "/" + field.replace("~", "~0").replace("/", "~1")


def _json_type(name: str) -> str:
    return _JSON.get(name, "number")
