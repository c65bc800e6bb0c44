"""The contract of every system: one package each, found here, so a new one needs no entry anywhere.

A package has `topics.py` with `STREAMS`, and where they apply `ANSWERS`, `DEVICE_FILTERS`, `DEVICE_PUBLISHES`,
`DEVICE_RECEIVES`, `OPERATOR_STREAMS` and `ADMIN_STREAMS` (who may do what: `broker.contract.roles`), and `THINGS`. It may have
`tables.py` with `TABLES`, the typed tables that the recorder fills (`broker.contract.table`); `views.sql` with views on them;
and `questions.py`, the statements with which clients query what was recorded. To add a topic, add its payload and its `Stream`
to `topics.py` of the system and list it in `STREAMS`; name the stream in the `declaration.py` of the components that publish
and receive it, or in `DEVICE_FILTERS` or `OPERATOR_STREAMS`; then write the documentation again: `.venv/bin/python -m
tests.documents`.

Nothing is imported before it is asked for: a component that needs the topics of one system loads no other.
"""

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.contract.table import Table
    from broker.stream import AnyStream


@cache
def systems() -> tuple[str, ...]:
    """Return the dotted names of the systems' packages, in alphabetical order."""
    from pkgutil import iter_modules

    return tuple(sorted(f"{__name__}.{each.name}" for each in iter_modules(__path__) if each.ispkg))


@cache
def streams() -> "tuple[AnyStream, ...]":
    """Return every stream of every system: one is one row of the topic table in the documentation."""
    return tuple(stream for topics in _topics() for stream in topics.STREAMS)


@cache
def operator_streams() -> "tuple[AnyStream, ...]":
    """Return the streams that operators may publish: settings and requests."""
    return tuple(stream for topics in _topics() for stream in getattr(topics, "OPERATOR_STREAMS", ()))


@cache
def device_filters() -> tuple[str, ...]:
    """Return the topic filters to which a device may publish on the loopback listener without an account."""
    return tuple(each for topics in _topics() for each in getattr(topics, "DEVICE_FILTERS", ()))


@cache
def admin_streams() -> "tuple[AnyStream, ...]":
    """Return the streams that administrators may publish besides those of operators."""
    return tuple(stream for topics in _topics() for stream in getattr(topics, "ADMIN_STREAMS", ()))


@cache
def answers() -> "tuple[AnyStream, ...]":
    """Return the streams that only the client that asked may read. Their last level names it."""
    return tuple(stream for topics in _topics() for stream in getattr(topics, "ANSWERS", ()))


def device_topics(name: str) -> "tuple[tuple[str, ...], tuple[str, ...]]":
    """Return the topic filters to which a device with the account `name` may publish, and those that it may read."""
    publishes, receives = (
        tuple(each.replace("{name}", name) for topics in _topics() for each in getattr(topics, kind, ()))
        for kind in ("DEVICE_PUBLISHES", "DEVICE_RECEIVES")
    )
    return publishes, receives


@cache
def things() -> "dict[str, tuple[AnyStream, ...]]":
    """Return the kinds of things that can be forgotten, each with the streams that may have retained messages of it."""
    return {kind: each for topics in _topics() for kind, each in getattr(topics, "THINGS", {}).items()}


@cache
def tables() -> "tuple[Table, ...]":
    """Return the typed tables of all systems."""
    from importlib.util import find_spec

    modules = [f"{system}.tables" for system in systems()]
    return tuple(table for module in modules if find_spec(module) for table in import_module(module).TABLES)


def _topics() -> list[ModuleType]:
    return [import_module(f"{system}.topics") for system in systems()]
