"""The OpenAPI document of the machine API."""

from adapters.http.openapi import Node, answer, document, error, json_content, reference, unavailable
from adapters.machine_api.machines import AVERAGE_FIELDS
from adapters.machine_api.parameters import FIRST_MACHINE, INVALID, MISSING
from adapters.machine_api.routes import LARGEST_BODY_BYTES, UPDATED
from broker.contract.identifiers import LARGEST_NUMBER
from broker.contract.machines.topics import Status

_EXAMPLE = {
    "id": 1,
    "name": "DELL G450",
    "description": "Machine for processing ",
    "temperature": 30.21,
    "fan_speed": 811.62,
    "status": "COMPLETED",
    "timestamp": "2024-11-03T13:40:45.015069+00:00",
    "average_temperature": 20.18,
    "average_speed": 899.64,
}
_WRONG_ID = "id is to be a whole number, such as ?id=7, not 'seven'"
_UNKNOWN = error("Nothing has come from this machine since the API was started.", unknown="machine 7 is unknown: …")
_ID: Node = {
    "name": "id",
    "in": "query",
    "required": False,
    "description": "Number of the machine.",
    "schema": {"type": "integer", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER, "default": FIRST_MACHINE},
}


def any_case(words: list[str]) -> str:
    """Return a pattern for these words in any case."""
    spelled = ["".join(f"[{letter.upper()}{letter.lower()}]" for letter in word) for word in words]
    return f"^({'|'.join(spelled)})$"


_SCHEMAS: Node = {
    "Data": {
        "type": "object",
        "description": "The latest reading, each field as it came; fields that the machine left out are not there.",
        "required": ["id", *AVERAGE_FIELDS],
        "properties": {
            "id": {"type": "integer"},
            "name": {"description": "Text, if the machine keeps to its contract."},
            "description": {"description": "Text, likewise."},
            "temperature": {"description": "°C: a number, likewise."},
            "fan_speed": {"description": "Revolutions per minute: a number, likewise."},
            "status": {"description": "One of the statuses, likewise."},
            "timestamp": {"description": "RFC 3339, likewise."},
            "average_temperature": {"type": ["number", "null"], "description": "°C, over its last readings; null: not known."},
            "average_speed": {"type": ["number", "null"], "description": "Revolutions per minute, likewise."},
        },
    },
    "StatusRequest": {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"type": "string", "pattern": any_case([each.value for each in Status])}},
    },
    "StatusUpdated": {"type": "object", "required": ["message"], "properties": {"message": {"const": UPDATED["message"]}}},
}
_PATHS: Node = {
    "/data": {
        "get": {
            "operationId": "data",
            "summary": "The latest reading of a machine, with its averages",
            "parameters": [_ID],
            "responses": {
                "200": answer("What is known of it, from memory.", reference("Data"), machine=_EXAMPLE),
                "400": error("The id is no whole number.", wrong=_WRONG_ID),
                "404": _UNKNOWN,
                "503": unavailable(),
            },
        }
    },
    "/status": {
        "post": {
            "operationId": "setStatus",
            "summary": "Set the job status of a machine",
            "description": "The machine's next reading has it. Statuses are taken in any case. After 503 it is unknown "
            "whether the machine will get it: set it again, that does no harm.",
            "parameters": [_ID],
            "requestBody": {
                "required": True,
                "content": json_content(reference("StatusRequest"), completed={"status": "COMPLETED"}),
            },
            "responses": {
                "200": answer("The broker has it.", reference("StatusUpdated"), updated=UPDATED),
                "400": error("The request is wrong.", missing=MISSING, invalid=INVALID, id=_WRONG_ID),
                "404": _UNKNOWN,
                "413": error(f"The body is larger than {LARGEST_BODY_BYTES} bytes."),
                "503": unavailable(),
            },
        }
    },
}
DOCUMENT = document(
    "Scaup machines",
    "Readings of machines with their averages, and their job status. Every error is JSON with `error`.",
    _PATHS,
    _SCHEMAS,
)
