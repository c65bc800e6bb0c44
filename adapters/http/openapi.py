"""OpenAPI 3.1: the pieces of a document that every adapter shares, and its readable page. Pure.

The page is plain HTML without scripts or anything from another server, so it works without the internet.
"""

import json
from html import escape
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
_RETRY: Node = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}, "example": RETRY_AFTER_S}}
_CHALLENGE: Node = {"WWW-Authenticate": {"description": "How to log in.", "schema": {"type": "string"}}}
_LOGIN: Node = {
    "type": "http",
    "scheme": "basic",
    "description": "An account of `scaup account`, for requests from other machines: devices post, viewers read, operators and "
    "administrators do both.",
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1b2733; }
section { border-top: 1px solid #cfd8e0; margin-top: 2rem; }
h2 code { font-size: 1.1rem; } b { color: #0b5c8a; }
pre { background: #f2f5f8; padding: .5rem .75rem; overflow-x: auto; margin: .25rem 0; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
"""


def document(title: str, description: str, paths: Node, schemas: Node) -> Node:
    """Return the whole document, with the paths that every adapter serves.

    Args:
        title: name of the API.
        description: its purpose, in a few sentences.
        paths: OpenAPI path items by path; one of a common path replaces the common one.
        schemas: JSON schemas by name, for `reference`.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": release()},
        "paths": {path: _with_common(item) for path, item in {**paths, **_COMMON, **paths}.items()},
        "components": {"schemas": {"Error": ERROR, "Health": _HEALTH, **schemas}, "securitySchemes": {"login": _LOGIN}},
        "security": [{"login": []}, {}],
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
    """Return the answer 503 of operations that need the broker."""
    described = error(
        "The broker is away or does not answer, or there are too many requests: try again.",
        frozen="the broker has not answered within 1.5 s",
    )
    return {**described, "headers": _RETRY}


def _with_common(item: Node) -> Node:
    """Add the answers that any request may get before it reaches its operation."""
    return {method: _operation(part) for method, part in item.items()}


def _operation(operation: Node) -> Node:
    responses = {
        "400": error("No HTTP, or what this server cannot read."),
        "401": {**error("No login, or a wrong one. Only requests from other machines need one."), "headers": _CHALLENGE},
        "403": error("The account may not do this, or `Origin` is a site that `SCAUP_CORS_ORIGINS` does not list."),
        "408": error("The request did not come within 10 s."),
        "421": error("`Host` is not a name of this machine."),
        "429": {**error("Too many wrong logins, or too many requests of one account at once."), "headers": _RETRY},
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


def page(document: dict[str, Any]) -> str:
    """Return the page for an OpenAPI document, in UTF-8."""
    info = document["info"]
    operations = [
        _operation_section(method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    schemas = [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title><style>{_STYLE}</style></head><body>
<h1>{escape(info["title"])} {escape(info["version"])}</h1><p>{escape(info["description"])}</p>
<p>For programs: <a href="openapi.json">openapi.json</a></p>
{"".join(operations)}
<section><h2>Shapes</h2>{"".join(schemas)}</section>
</body></html>
"""


def _operation_section(method: str, path: str, operation: dict[str, Any]) -> str:
    return (
        f"<section><h2><b>{escape(method.upper())}</b> <code>{escape(path)}</code></h2>"
        f"<p>{escape(operation['summary'])}</p><p>{escape(operation.get('description', ''))}</p>"
        f"{_parameters(operation.get('parameters', []))}{_request(operation.get('requestBody', {}))}"
        f"<h3>Answers</h3><table>{''.join(_answer(*each) for each in operation['responses'].items())}</table></section>"
    )


def _parameters(parameters: list[dict[str, Any]]) -> str:
    rows = [
        f"<tr><td><code>{escape(each['name'])}</code> in {escape(each['in'])}</td><td>{escape(each['description'])}</td>"
        f"<td><code>{_json(each['schema'])}</code></td></tr>"
        for each in parameters
    ]
    return f"<h3>Parameters</h3><table>{''.join(rows)}</table>" if rows else ""


def _request(body: dict[str, Any]) -> str:
    return f"<h3>Body</h3>{_content(body['content'])}" if body else ""


def _answer(status: str, answer: dict[str, Any]) -> str:
    headers = "".join(f"<p>With <code>{escape(name)}</code>.</p>" for name in answer.get("headers", {}))
    content = _content(answer.get("content", {}))
    return f"<tr><th>{escape(status)}</th><td>{escape(answer['description'])}{headers}{content}</td></tr>"


def _content(content: dict[str, Any]) -> str:
    return "".join(
        f"<p><code>{escape(media_type)}</code> {_json(part['schema'])}</p>{_examples(part.get('examples', {}))}"
        for media_type, part in content.items()
    )


def _examples(examples: dict[str, Any]) -> str:
    return "".join(f"<pre>{_json(each['value'])}</pre>" for each in examples.values())


def _schema(name: str, schema: dict[str, Any]) -> str:
    return f"<h3>{escape(name)}</h3><pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"


def _json(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"$ref"}:
        return escape(value["$ref"].rpartition("/")[2])
    return escape(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
