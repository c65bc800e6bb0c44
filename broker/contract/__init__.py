"""The contract of every system: one package each, found here, so a new one needs no entry anywhere.

A package has `topics.py` with `STREAMS`, and where they apply `DEVICE_FILTERS` and `OPERATOR_STREAMS`. It may have `tables.py`
with `TABLES`, the typed tables that the recorder fills (`broker.contract.table`); `views.sql` with views on them; and
`questions.py`, the statements with which clients query what was recorded.
"""

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from broker.contract.table import Table
from broker.stream import AnyStream

SYSTEMS: tuple[str, ...] = tuple(sorted(f"{__name__}.{each.name}" for each in iter_modules(__path__) if each.ispkg))
"""The dotted names of the systems' packages."""

_TOPICS = [import_module(f"{system}.topics") for system in SYSTEMS]

STREAMS: tuple[AnyStream, ...] = tuple(stream for topics in _TOPICS for stream in topics.STREAMS)
"""Every topic of every system: one `Stream` is one row of the topic table in the documentation."""

OPERATOR_STREAMS: tuple[AnyStream, ...] = tuple(each for topics in _TOPICS for each in getattr(topics, "OPERATOR_STREAMS", ()))
"""What the operator's account may publish: settings and requests."""

DEVICE_FILTERS: tuple[str, ...] = tuple(each for topics in _TOPICS for each in getattr(topics, "DEVICE_FILTERS", ()))
"""What a device may publish on the loopback listener without an account."""


def tables() -> tuple[Table, ...]:
    """Return the typed tables of all systems."""
    modules = [f"{system}.tables" for system in SYSTEMS]
    return tuple(table for module in modules if find_spec(module) for table in import_module(module).TABLES)
