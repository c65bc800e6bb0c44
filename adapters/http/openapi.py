"""Pieces of an OpenAPI 3.1 document: what every operation of ours has in common."""

from typing import Any

from adapters.http.errors import RETRY_AFTER_S
from broker.runtime.settings import release

Node = dict[str, Any]

ERROR: Node = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "What was wrong, for people, and what to do."}},
}
_HEALTH: Node = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}


def document(title: str, description: str, paths: Node, schemas: Node) -> Node:
    """Return the whole document, with the paths that every adapter serves.

    Args:
        title: name of the API.
        description: what it is for, a few sentences.
        paths: OpenAPI path items by path.
        schemas: JSON schemas by name, for `reference`.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": release()},
        "paths": {path: _with_common(item) for path, item in {**paths, **_COMMON}.items()},
        "components": {"schemas": {**schemas, "Error": ERROR, "Health": _HEALTH}},
    }


def reference(name: str) -> Node:
    """Return a reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(schema: Node, **examples: Any) -> Node:
    """Return the content of a JSON body; each example is a value by name."""
    content: Node = {"schema": schema}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": content}


def answer(description: str, schema: Node, **examples: Any) -> Node:
    """Return a JSON answer."""
    return {"description": description, "content": json_content(schema, **examples)}


def error(description: str, **examples: str) -> Node:
    """Return an error answer; each example is a text by name."""
    return answer(description, reference("Error"), **{name: {"error": text} for name, text in examples.items()})


def unavailable() -> Node:
    """Return the answer 503, which every operation that needs the broker has."""
    retry = {"description": "Seconds to wait.", "schema": {"type": "integer"}, "example": RETRY_AFTER_S}
    described = error(
        "The broker is away or does not answer, or there are too many requests: try again.",
        frozen="the broker has not answered within 1.5 s",
    )
    return {**described, "headers": {"Retry-After": retry}}


def _with_common(item: Node) -> Node:
    """Add what any request may be answered before it reaches its operation."""
    return {method: _operation(part) for method, part in item.items()}


def _operation(operation: Node) -> Node:
    responses = {
        "400": error("No HTTP, or what this server cannot read."),
        "408": error("The request did not come within 10 s."),
        "431": error("The request line and the headers are too large."),
        "503": unavailable(),
        **operation["responses"],
    }
    return {**operation, "responses": dict(sorted(responses.items()))}


_COMMON: Node = {
    "/health": {
        "get": {
            "operationId": "health",
            "summary": "Whether this API works",
            "responses": {"200": answer("It does: the broker answered just now.", reference("Health"), ok={"status": "ok"})},
        }
    },
    "/openapi.json": {
        "get": {
            "operationId": "openapi",
            "summary": "This document",
            "responses": {"200": answer("OpenAPI 3.1.", {"type": "object", "required": ["openapi", "info", "paths"]})},
        }
    },
    "/docs": {
        "get": {
            "operationId": "docs",
            "summary": "This document, to be read in a browser, also without the internet",
            "responses": {"200": {"description": "A page.", "content": {"text/html": {"schema": {"type": "string"}}}}},
        }
    },
}
