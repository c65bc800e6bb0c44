"""`POST /energy-file`: the consumption in a file, posted to the energy normalizer as the account that signed in.

Files are read as by `scaup energy import`: JSON, CSV and Parquet. Rows that cannot be used are listed with their place.
"""

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.client.energy.dialect import COMMA, DAY_FIRST, MONTH_FIRST, POINT, SEPARATORS, Forms
from adapters.client.energy.files import Defaults, FilePost, read
from adapters.client.energy.outcome import Outcome
from adapters.client.errors import ClientError
from adapters.http.errors import BadRequest, HttpError, JsonResponse, TooLarge, Unavailable
from adapters.http.resource import read_body
from broker.contract.energy.topics import ANSWER, RAW, Stored
from broker.contract.storage.topics import JSON
from broker.errors import InvalidTopic, NotAllowed, Rejected
from broker.message import Publication, decode

LARGEST_FILE = 32 * 1024 * 1024
LARGEST_UNPACKED = 512 * 1024 * 1024
"""Size of the columns of a Parquet file in memory: a small file may become a very large one."""
MOST_LISTED = 1_000
PATIENCE_S = 60.0
"""For the answer to a post: the normalizer may have to look a new ship up in the recording first."""

Send = Callable[[Publication, str, float], Awaitable[bytes]]
"""Publishes a request, given the topic of the answer and a time limit, and returns the answer."""


class EnergyFiles:
    """Posts files, one at a time: a file may take much memory."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def post(self, request: Request, send: Send, account: str) -> Response:
        """Read the file in the body, post it in pieces, and answer with what was stored, skipped and refused.

        Raises:
            HttpError: the file cannot be read (400), is too large (413) or may not be posted (403), or nothing answers (503).
        """
        parameters = request.query_params
        name = re.sub(r"[^\w .()+-]", "_", Path(parameters.get("name", "")).name)[-100:]
        defaults = _defaults(parameters)
        body = await read_body(request, LARGEST_FILE)
        async with self._turn:
            posts = await asyncio.to_thread(_read, name, body, defaults)
            outcome = Outcome()
            for post in posts:
                for piece in post.pieces():
                    outcome.add(piece, await _post(piece, send, account))
        return JsonResponse(
            {
                "stored": outcome.stored,
                "skipped": outcome.skipped[:MOST_LISTED],
                "skipped_count": len(outcome.skipped),
                "refused": outcome.refused[:MOST_LISTED],
                "notes": list(islice((note for post in posts for note in post.notes), MOST_LISTED)),
                "ships": sorted({str(post.ship) for post in posts})[:MOST_LISTED],
            },
            headers={"Cache-Control": "no-store"},
        )


def _defaults(parameters: Any) -> Defaults:
    def chosen(name: str, allowed: Any) -> str | None:
        value = parameters.get(name) or None
        if value is not None and value not in allowed:
            raise BadRequest(f"{name} is one of {', '.join(allowed)}, not {value[:20]!r}")
        return value

    try:
        interval = float(parameters.get("interval_minutes") or "nan")
    except ValueError:
        raise BadRequest("interval_minutes is a number of minutes") from None
    forms = Forms(chosen("separator", SEPARATORS), chosen("decimal", (COMMA, POINT)), chosen("dates", (DAY_FIRST, MONTH_FIRST)))
    known = None if interval != interval else interval
    return Defaults(parameters.get("ship") or None, chosen("units", ("kW", "kWh")), known, forms)


def _read(name: str, body: bytes, defaults: Defaults) -> list[FilePost]:
    with tempfile.TemporaryDirectory(prefix="scaup-energy-") as folder:
        path = Path(folder) / (name or "file")
        path.write_bytes(body)
        if path.suffix.lower() == ".parquet":
            _require_small(path)
        try:
            return read(path, defaults)
        except ClientError as error:
            raise BadRequest(f"{error.message}{_for_page(error.fix)}") from error


def _require_small(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
    except pa.ArrowInvalid as error:
        raise BadRequest(f"{path.name}: {error}") from error
    if sum(metadata.row_group(each).total_byte_size for each in range(metadata.num_row_groups)) > LARGEST_UNPACKED:
        raise TooLarge(LARGEST_UNPACKED)


def _for_page(fix: str) -> str:
    """Return a fix in the words of the page, where it is an option of the command line."""
    names = dict.fromkeys(re.findall(r"--(ship|units|separator|decimal|dates)", fix))
    return f": choose {' and '.join(names)} below" if names else ""


async def _post(piece: FilePost, send: Send, account: str) -> Stored:
    try:
        topic = RAW.template.topic(ship=str(piece.ship))
    except InvalidTopic as error:
        raise BadRequest(f"{piece.path.name}: {piece.place}spaceship_id: {error}") from error
    payload = await asyncio.to_thread(piece.payload)
    publication = Publication(topic=topic, payload=payload, content_type=JSON)
    try:
        return decode(await send(publication, ANSWER.template.topic(client=f"{account}/web"), PATIENCE_S), Stored)
    except NotAllowed as error:
        raise HttpError(403, f"{account} may not publish to {topic}: {error}") from error
    except ClientError as error:
        raise Unavailable(f"{error}, at {piece.where(0)}; post the file again, which changes nothing that is stored") from error
    except Rejected as error:
        raise Unavailable(f"the energy normalizer sent an invalid answer: {error}") from error
