"""A file of consumption that is dropped on the page: what is posted, and the answer with what was left out."""

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.requests import Request

from adapters.http.errors import HttpError
from adapters.web.energy_file import EnergyFiles
from broker.message import Publication

CSV = b"Timestamp;Energy (kWh)\n01.08.2026 00:00;1,5\n01.08.2026 00:15;n/a\n"


def post(body: bytes, query: str) -> tuple[dict[str, Any], list[Publication]]:
    """Post a file; the normalizer skips what is no number, and refuses the ship `bad`."""
    sent: list[Publication] = []

    async def send(publication: Publication, _answer: str, _timeout_s: float) -> bytes:
        sent.append(publication)
        values = [row["value"] for row in orjson.loads(publication.payload)["data"]]
        if publication.topic == "energy/bad/raw":
            return b'{"spaceship_id":"bad","stored":0,"skipped":[],"error":"data[1].datetime: no time"}'
        wrong = [{"index": index, "reason": "no number"} for index, each in enumerate(values) if isinstance(each, str)]
        return orjson.dumps({"spaceship_id": 1, "stored": len(values) - len(wrong), "skipped": wrong})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def run() -> dict[str, Any]:
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": query.encode(), "headers": []}
        response = await EnergyFiles().post(Request(scope, receive), send, "operator")
        return json.loads(bytes(response.body))  # type: ignore[no-any-return]

    return asyncio.run(run()), sent


def test_a_skipped_row_is_named_by_its_line() -> None:
    answer, sent = post(CSV, "name=august.csv&ship=7")
    assert [each.topic for each in sent] == ["energy/7/raw"]
    assert (answer["stored"], answer["skipped_count"], answer["ships"]) == (1, 1, ["7"])
    assert answer["skipped"] == ["august.csv, line 3: no number"]
    assert "decimal comma" in answer["notes"][0]


def test_parquet_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"datetime": ["2026-08-01T00:00:00Z", "2026-08-01T00:15:00Z"], "value": [1.0, 2.0]}), file)
    answer, sent = post(file.read_bytes(), "name=a.parquet&ship=7&units=kWh")
    assert answer["stored"] == 2
    assert orjson.loads(sent[0].payload)["units"] == "kWh"


def test_a_refused_post_is_reported_at_its_row() -> None:
    answer, _ = post(CSV, "name=a.csv&ship=bad")
    assert answer["refused"] == ["a.csv, line 3: data[1].datetime: no time"]


@pytest.mark.parametrize(
    ("body", "query", "text"),
    [
        (b"datetime,value\n2026-08-01,1\n2026-08-02,2\n", "name=a.csv&ship=7", "the units are missing: choose units below"),
        (CSV, "name=a.csv", "does not name its ship: choose ship below"),
        (CSV, "name=a.exe&ship=7", "does not end in any of .json"),
        (b"PAR1", "name=../../a.parquet&ship=7", "a.parquet"),
        (CSV, "name=a.csv&ship=7&units=W", "units is one of kW, kWh"),
        (CSV, "name=a.csv&ship=a/b", "spaceship_id"),
        (b"{", "name=a.json", "not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(body: bytes, query: str, text: str) -> None:
    with pytest.raises(HttpError) as error:
        post(body, query)
    assert text in error.value.text
