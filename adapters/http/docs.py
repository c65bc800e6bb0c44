"""The readable page: plain HTML made of the OpenAPI document, without a script and without anything from elsewhere. Pure."""

import json
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1b2733; }
section { border-top: 1px solid #cfd8e0; margin-top: 2rem; }
h2 code { font-size: 1.1rem; } b { color: #0b5c8a; }
pre { background: #f2f5f8; padding: .5rem .75rem; overflow-x: auto; margin: .25rem 0; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
"""


def page(document: dict[str, Any]) -> str:
    """Return the page for an OpenAPI document, in UTF-8."""
    info = document["info"]
    operations = [
        _operation(method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()
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


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
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
