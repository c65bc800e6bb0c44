"""What a client asks: which machine, and which status. Pure, and binding to the byte (see the specification of machines)."""

import re

import orjson
from starlette.datastructures import QueryParams

from adapters.http.errors import NotReadable
from broker.contract.machines.topics import Status

FIRST_MACHINE = 1
SMALLEST_ID, LARGEST_ID = -(2**63), 2**63 - 1
MISSING = "Missing 'status' field in request data"
INVALID = f"Invalid status. Allowed statuses: {', '.join(each.value for each in Status)}"

_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)


def read_id(query: QueryParams) -> int:
    """Return the number of the machine that `?id=` names, 1 where there is none.

    Raises:
        NotReadable: it is no whole number of 64 bits, or there are several.
    """
    given = query.getlist("id")
    if not given:
        return FIRST_MACHINE
    if len(given) > 1:
        raise NotReadable("id is given more than once: one machine at a time")
    if not _WHOLE.fullmatch(given[0]) or not SMALLEST_ID <= int(given[0]) <= LARGEST_ID:
        raise NotReadable(f"id is to be a whole number, such as ?id=7, not {given[0][:50]!r}")
    return int(given[0])


def read_status(body: bytes) -> Status:
    """Return the status that a body asks for, given in any case. Of a repeated field the last one counts.

    Raises:
        NotReadable: the body is malformed, has no status, or one that there is not.
    """
    if not body.strip():
        raise NotReadable(MISSING)
    try:
        asked = orjson.loads(body)
    except ValueError as error:
        raise NotReadable(f"Malformed JSON in request data: {_why(body, error)}") from None
    if not isinstance(asked, dict) or "status" not in asked:
        raise NotReadable(MISSING)
    return _status(asked["status"])


def _status(given: object) -> Status:
    if not isinstance(given, str) or not given.isascii():  # the upper case of ı is I
        raise NotReadable(INVALID)
    try:
        return Status(given.upper())
    except ValueError:
        raise NotReadable(INVALID) from None


def _why(body: bytes, error: ValueError) -> str:
    try:
        body.decode()
    except UnicodeDecodeError as undecodable:
        return f"byte {undecodable.start + 1} is not UTF-8"
    return str(error)
