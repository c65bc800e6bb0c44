"""The OpenAPI document of the web component."""

from adapters.http.openapi import Node, answer, document, reference

_PROBLEM: Node = {
    "type": "object",
    "required": ["status", "text"],
    "properties": {"status": {"enum": ["warning", "failed"]}, "text": {"type": "string"}},
}
_COMPONENT: Node = {
    "type": "object",
    "required": ["name", "state", "expected"],
    "properties": {
        "name": {"type": "string"},
        "state": {"enum": ["online", "offline", "unknown"]},
        "expected": {"type": "boolean", "description": "Whether the system is only healthy with it."},
        "version": {"type": ["string", "null"]},
        "boot": {"type": ["string", "null"], "description": "Identifier of its start."},
        "warning": {"type": ["string", "null"], "description": "Why it cannot keep up."},
    },
}
_SYSTEM_HEALTH: Node = {
    "type": "object",
    "required": ["status", "problems", "broker", "recorder", "components"],
    "properties": {
        "status": {"enum": ["ok", "warning", "failed"]},
        "problems": {"type": "array", "items": _PROBLEM},
        "broker": {"type": "object"},
        "recorder": {"type": ["object", "null"], "description": "As it reported last; null: not yet."},
        "components": {"type": "array", "items": _COMPONENT},
    },
}
_PATHS: Node = {
    "/": {
        "get": {
            "operationId": "page",
            "summary": "A page with links",
            "responses": {"200": {"description": "A page.", "content": {"text/html": {"schema": {"type": "string"}}}}},
        }
    },
    "/health": {
        "get": {
            "operationId": "health",
            "summary": "Whether the whole system works: broker, recorder and components",
            "responses": {
                "200": answer("It does; `warning` says what needs attention.", reference("SystemHealth")),
                "503": answer("A part of it does not.", reference("SystemHealth")),
            },
        }
    },
    "/metrics": {
        "get": {
            "operationId": "metrics",
            "summary": "Figures for Prometheus",
            "responses": {
                "200": {
                    "description": "The text format of Prometheus, or OpenMetrics if `Accept` asks for it.",
                    "content": {"text/plain": {"schema": {"type": "string"}}},
                }
            },
        }
    },
}
DOCUMENT = document(
    "Scaup",
    "Health and metrics of the whole system.",
    _PATHS,
    {"SystemHealth": _SYSTEM_HEALTH},
)
