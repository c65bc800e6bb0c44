"""The parameters of a request: the number of a machine, and a status. Pure.

The texts of errors about a status are part of the contract, to the byte.
"""

import orjson
from starlette.datastructures import QueryParams

from adapters.http.errors import BadRequest
from broker.contract.identifiers import number_of
from broker.contract.machines.topics import Status
from broker.errors import Rejected
from broker.message import check_names, without_byte_order_mark

FIRST_MACHINE = 1
MISSING = "Missing 'status' field in request data"
INVALID = f"Invalid status. Allowed statuses: {', '.join(each.value for each in Status)}"


def read_id(query: QueryParams) -> int:
    """Return the number of the machine in `?id=`, 1 without it.

    Raises:
        BadRequest: it is not the canonical form of a whole number below 2^53, or is given more than once.
    """
    given = query.getlist("id")
    if not given:
        return FIRST_MACHINE
    if len(given) > 1:
        raise BadRequest("id is given more than once: one machine at a time")
    number = number_of(given[0])
    if number is None:
        raise BadRequest(f"id is to be a whole number, such as ?id=7, not {given[0][:50]!r}")
    return number


def read_status(body: bytes) -> Status:
    """Return the status in a body, in upper or lower case.

    Raises:
        BadRequest: the body is malformed, has no status, or an unknown one.
    """
    try:
        body = without_byte_order_mark(body)
    except Rejected as rejected:
        raise BadRequest(f"Malformed JSON in request data: {rejected}") from None
    if not body.strip():
        raise BadRequest(MISSING)
    try:
        decoded = orjson.loads(body)
    except ValueError as error:
        raise BadRequest(f"Malformed JSON in request data: {_why(body, error)}") from None
    try:
        check_names(body, decoded)
    except Rejected as rejected:
        raise BadRequest(f"Malformed JSON in request data: {rejected}") from None
    given = decoded.get("status") if isinstance(decoded, dict) else None
    if given is None or (isinstance(given, str) and not given.strip()):  # a form that was not filled in
        raise BadRequest(MISSING)
    return _status(given)


def _status(given: object) -> Status:
    if not isinstance(given, str) or not given.isascii():  # the upper case of ı is I
        raise BadRequest(INVALID)
    try:
        return Status(given.upper())
    except ValueError:
        raise BadRequest(INVALID) from None


def _why(body: bytes, error: ValueError) -> str:
    try:
        body.decode()
    except UnicodeDecodeError as undecodable:
        return f"byte {undecodable.start + 1} is not UTF-8"
    return str(error)
