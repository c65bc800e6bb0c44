"""The source of `scaup machines watch --source`: a JSON file or URL with one reading, or an array of them."""

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from broker.errors import Rejected
from broker.message import decode_json, without_byte_order_mark

TIMEOUT_S = 5.0
"""For each next part of an answer."""
WHOLE_S = 10.0
"""For a whole answer."""
LARGEST_BYTES = 16 * 1024 * 1024
_PART_BYTES = 1024 * 1024


class SourceFailed(Exception):
    """The source cannot be read at present; the text names it and the cause."""


def read_source(place: str) -> list[Any]:
    """Return the present content of a file or an `http://` or `https://` URL, as a list of decoded readings.

    Raises:
        SourceFailed: it cannot be reached, sends nothing for 5 s, is not complete within 10 s, has more than 16 MiB, or is not
            JSON.
    """
    try:
        content = _of_url(place) if place.lower().startswith(("http://", "https://")) else _of_file(place)
    except urllib.error.HTTPError as error:
        raise SourceFailed(f"{place} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceFailed(f"{place} cannot be read: {_reason(error)}") from error
    if len(content) > LARGEST_BYTES:
        raise SourceFailed(f"{place} has more than {LARGEST_BYTES >> 20} MiB")
    try:
        found = decode_json(without_byte_order_mark(content))
    except Rejected as error:
        raise SourceFailed(f"{place} has no readings: {error}") from error
    return found if isinstance(found, list) else [found]


def _of_url(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - http and https only
    until_s = time.monotonic() + WHOLE_S
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        content = b""
        while len(content) <= LARGEST_BYTES and (part := response.read1(_PART_BYTES)):
            content += part
            if time.monotonic() > until_s:  # the timeout above is for each wait
                raise TimeoutError(f"no whole answer within {WHOLE_S:g} s")
    return content


def _of_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(LARGEST_BYTES + 1)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__
