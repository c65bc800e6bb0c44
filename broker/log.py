"""Log lines: for people by default, or as JSON with a stable event name and fields (`SCAUP_LOG=json`).

A line is an event: `log.warning("message-rejected", "rejected a message on %(topic)s: %(reason)s", topic=…, reason=…)`. The
names of the event and of its fields are what programs may rely on; the text may change. `docs/operations.md` lists all events.
Nothing secret belongs in a field; a password in an address is left out here.
"""

import json
import logging
import re
import sys
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

TEXT, JSON = "text", "json"
VARIABLE = "SCAUP_LOG"
LONGEST_FIELD = 2_000
OTHER = "log"
"""The event of lines that libraries write."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")


class Log:
    """The events of one module. `event` is a name in lower case with hyphens; the text has its fields as `%(name)s`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, text: str, /, **fields: Any) -> None:
        """Write what only a developer wants to know."""
        self._write(logging.DEBUG, event, text, fields)

    def info(self, event: str, text: str, /, **fields: Any) -> None:
        """Write what happened as expected."""
        self._write(logging.INFO, event, text, fields)

    def warning(self, event: str, text: str, /, **fields: Any) -> None:
        """Write what needs attention, while the work goes on."""
        self._write(logging.WARNING, event, text, fields)

    def error(self, event: str, text: str, /, **fields: Any) -> None:
        """Write what could not be done."""
        self._write(logging.ERROR, event, text, fields)

    def critical(self, event: str, text: str, /, **fields: Any) -> None:
        """Write why the process ends."""
        self._write(logging.CRITICAL, event, text, fields)

    def exception(self, event: str, text: str, /, **fields: Any) -> None:
        """Write an error with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, event, text, fields, with_traceback=True)

    def _write(self, level: int, event: str, text: str, fields: dict[str, Any], with_traceback: bool = False) -> None:
        arguments = (fields,) if fields else ()
        self._logger.log(level, text, *arguments, exc_info=with_traceback, extra={"event": event})


class TextFormatter(logging.Formatter):
    """A line for people. What a device wrote cannot begin another line or command the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if isinstance(args := record.args, dict):
            record = copy(record)
            record.args = {name: _one_line(value) if isinstance(value, str) else value for name, value in args.items()}
        return masked(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, component, event, fields, message, and any traceback."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC)
        fields = record.args if isinstance(record.args, dict) else {}
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "component": self._component,
            "event": getattr(record, "event", OTHER),
            "fields": {name: _plain(value) for name, value in fields.items()},
            "message": masked(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def configure(component: str, style: str | None, file: Path | None = None) -> None:
    """Let this process log to standard error, or to a file.

    Args:
        component: its name, in every line.
        style: `json`; anything else is text.
        file: where to, instead of standard error.
    """
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    if style == JSON:
        handler.setFormatter(JsonFormatter(component))
        sys.excepthook = _log_crash
    else:
        handler.setFormatter(TextFormatter(f"%(asctime)s {component} %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def masked(text: str) -> str:
    """Return a text without the passwords of addresses: `ws://name:…@host`."""
    return _PASSWORD.sub(r"\1:…@", text) if "@" in text else text


def _log_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    name = kind.__name__
    logging.getLogger(__name__).critical("%s: %s", name, error, exc_info=(kind, error, traceback), extra={"event": "crashed"})


def _one_line(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = masked(str(value))
    return text if len(text) <= LONGEST_FIELD else text[:LONGEST_FIELD] + "…"
