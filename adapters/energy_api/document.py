"""The OpenAPI document of the energy API."""

from adapters.energy_api.parameters import LONGEST_SHIP
from adapters.energy_api.routes import LARGEST_BODY_BYTES
from adapters.http.openapi import Node, answer, document, error, json_content, reference, unavailable
from broker.contract.energy.topics import ESTIMATED, MEASURED, PARTIAL

_POST = {
    "spaceship_id": 2,
    "units": "kW",
    "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 22}, {"datetime": "2018-08-24T00:05:00Z", "value": 24}],
}
_QUARTERS = {
    "spaceship_id": 1,
    "units": "kWh",
    "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 3, "quality": ESTIMATED, "coverage": 1.0}],
}
_STORED = {"spaceship_id": 1, "stored": 12, "skipped": [{"index": 3, "reason": "null"}]}
_SHIP: Node = {
    "type": ["integer", "string"],
    "description": f"Number of the ship, or its name: at most {LONGEST_SHIP} characters without / + #, no blanks around it.",
}


def _parameter(name: str, description: str, schema: Node, example: object) -> Node:
    return {"name": name, "in": "query", "required": True, "description": description, "schema": schema, "example": example}


_PERIOD = [
    _parameter("spaceship_id", "Number or name of the ship.", {"type": "string", "minLength": 1}, "1"),
    _parameter(
        "start",
        "The first quarter begins then or later: ISO 8601, UTC where it has no offset; also 2018-08-24T00-00-00Z.",
        {"type": "string", "minLength": 8},
        "2018-08-24T00:00:00Z",
    ),
    _parameter("end", "All quarters begin before; likewise.", {"type": "string", "minLength": 8}, "2018-08-24T01:00:00Z"),
]
_SCHEMAS: Node = {
    "Consumption": {
        "type": "object",
        "description": "What a ship has used. The interval is that of the series, and inferred from all that was ever posted.",
        "required": ["spaceship_id", "units", "data"],
        "properties": {
            "spaceship_id": _SHIP,
            "units": {"enum": ["kW", "kWh"]},
            "interval_minutes": {
                "anyOf": [{"type": ["number", "null"], "minimum": 1, "maximum": 1440}, {"const": "inferred"}],
                "description": "What each value stands for, where the spacing does not tell. A single reading of a new series "
                "needs it, or `inferred`: then it waits for the next one.",
            },
            "register": {
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": 100,
                "description": "Name of a meter whose register counts kWh up: the values are its readings at those times.",
            },
            "falls": {
                "enum": ["ignore", "reset", "swap", None],
                "description": "What a lower value of the register means: nothing, it began again at 0, or another meter.",
            },
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["datetime", "value"],
                    "properties": {
                        "datetime": {"type": "string", "description": "Beginning of the interval, ISO 8601."},
                        "value": {"description": "A number, also as text; anything else is skipped and listed."},
                    },
                },
            },
        },
    },
    "Stored": {
        "type": "object",
        "required": ["spaceship_id", "stored", "skipped"],
        "properties": {
            "spaceship_id": _SHIP,
            "stored": {"type": "integer", "minimum": 0, "description": "Values accepted."},
            "skipped": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "reason"],
                    "properties": {"index": {"type": "integer", "minimum": 0}, "reason": {"type": "string"}},
                },
            },
        },
    },
    "Quarters": {
        "type": "object",
        "required": ["spaceship_id", "units", "data"],
        "properties": {
            "spaceship_id": _SHIP,
            "units": {"const": "kWh"},
            "data": {"type": "array", "description": "In order of time.", "items": reference("Quarter")},
        },
    },
    "Quarter": {
        "type": "object",
        "required": ["datetime", "value", "quality", "coverage"],
        "properties": {
            "datetime": {"type": "string", "format": "date-time", "description": "Beginning of the quarter of an hour, UTC."},
            "value": {"type": "number", "description": "kWh."},
            "quality": {
                "enum": [MEASURED, PARTIAL, ESTIMATED],
                "description": "Covered by readings; in part; or by readings that are longer than a quarter.",
            },
            "coverage": {"type": "number", "minimum": 0, "maximum": 1, "description": "Share that readings cover."},
            "negative": {"const": True, "description": "A reading below 0 is part of it; else absent."},
        },
    },
}
_PATHS: Node = {
    "/data": {
        "get": {
            "operationId": "quarters",
            "summary": "Energy of a ship in a period, per quarter of an hour",
            "description": "A quarter of which nothing is known is absent, never 0. Unknown ships have no quarters.",
            "parameters": _PERIOD,
            "responses": {
                "200": answer("The quarters of [start, end).", reference("Quarters"), quarters=_QUARTERS),
                "400": error("A parameter is missing or cannot be read.", missing="start: is missing, such as ?start=…"),
                "503": unavailable(),
            },
        },
        "post": {
            "operationId": "store",
            "summary": "Store consumption of a ship",
            "description": "All of it or, if any time or field is wrong, nothing. After 503 it is unknown whether it was "
            "stored: post it again, that does no harm.",
            "requestBody": {"required": True, "content": json_content(reference("Consumption"), power=_POST)},
            "responses": {
                "201": answer("It is in the database, and its quarters too.", reference("Stored"), stored=_STORED),
                "400": error("It cannot be used.", units='units: must be "kW" or "kWh", not \'MW\''),
                "413": error(f"The body is larger than {LARGEST_BODY_BYTES} bytes."),
                "415": error("The body is not application/json."),
                "503": unavailable(),
            },
        },
    },
}
DOCUMENT = document(
    "Scaup energy",
    "Any consumption data becomes kWh per quarter of an hour. Every error is JSON with `error`.",
    _PATHS,
    _SCHEMAS,
)
