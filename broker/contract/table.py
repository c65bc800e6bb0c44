"""Typed tables as data: which table the messages of a stream fill, and which field of the payload becomes which column.

To add a typed table, declare it in `TABLES` of `broker/contract/<system>/tables.py`, and create it in the schema `live` with a
new migration, `storage/database/migrations/<next number>_<name>.sql`. Recording, the view and the ledger follow from the
declaration (`storage.schema.typed_streams` compiles it to SQL). Then keep a database of that number and write the documentation
again, as CONTRIBUTING.md says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from broker.stream import AnyStream


class Kind(Enum):
    """Content that the payload must have for a column to have a value."""

    TEXT = "text"
    """A string that is not empty, of `Column.high` characters at most, or of any length where that is 0."""
    CHOICE = "choice"
    """One of the strings `Column.choices`."""
    CONSTANT = "constant"
    """The string `Column.value`."""
    NUMBER = "number"
    """A finite number; neither a numeric string nor a boolean."""
    LIMITED_NUMBER = "limited number"
    """A number from `Column.low` to `Column.high`."""
    INTEGER = "integer"
    """A whole number from `Column.low` to `Column.high`."""
    INSTANT = "instant"
    """An RFC 3339 string with its offset from UTC."""
    BOOLEAN = "boolean"
    ARRAY = "array"
    """An array, stored as its JSON text."""
    OBJECT = "object"
    """An object, stored as its JSON text."""
    STRUCTS = "structs"
    """An array of objects with the fields `Column.fields`, stored as a list of structs."""
    IDENTIFIER = "identifier"
    """A string or a number, stored as its JSON text."""
    TEXT_PAYLOAD = "text payload"
    """A string that holds a payload as text; null where the field `encoding` is `base64`."""
    BINARY_PAYLOAD = "binary payload"
    """A string that holds a payload in base64; null where the field `encoding` is anything else."""


class Need(Enum):
    """Consequence of a payload without the content that a column needs."""

    IDENTITY = "identity"
    """There is no typed row, and the message is listed in `rejected_message`."""
    MEASURED = "measured"
    """The column is null, and the message is listed in `rejected_message`."""
    OPTIONAL = "optional"
    """The column is null: the field may be missing."""
    NULLABLE = "nullable"
    """The column is null: the field may be missing, or hold null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a typed table, or one condition on the payload."""

    name: str
    key: str
    """The field of the payload."""
    kind: Kind
    need: Need = Need.MEASURED
    low: int = 0
    high: int = 0
    value: str = ""
    choices: tuple[str, ...] = ()
    fields: Mapping[str, Kind] = field(default_factory=dict)
    """Of `STRUCTS`: the fields of each object."""
    outer: str = ""
    """The object in which `key` is; empty: the payload itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The table that the messages of a stream fill, one row each.

    A migration creates it in the schema `live`, with the columns `number`, `received_at` and `event_at` besides those named
    here. Its name stays for good: it is the name of files in archives.
    """

    name: str
    stream: AnyStream
    levels: Mapping[str, str] = field(default_factory=dict)
    """Named levels of the topic → the column that each becomes."""
    columns: tuple[Column, ...] = ()
    conditions: tuple[Column, ...] = ()
    """Further content that is expected of a payload and not stored."""
    known_keys: tuple[str, ...] = ()
    """Further fields of the payload, text or numbers, that are known and neither checked nor stored."""


def text(name: str, key: str = "", need: Need = Need.MEASURED, longest: int = 0) -> Column:
    """Declare a column of text. `key`, here and below: the payload's field, by default that of the column's name."""
    return Column(name=name, key=key or name, kind=Kind.TEXT, need=need, high=longest)


def choice(name: str, choices: type[Enum], key: str = "") -> Column:
    """Declare a column with one of the values of an enumeration of text."""
    return Column(name=name, key=key or name, kind=Kind.CHOICE, choices=tuple(each.value for each in choices))


def required_text(key: str, value: str) -> Column:
    """Declare the condition that a payload has the text `value` in a field; without it there is no typed row."""
    return Column(name=f"required_{key}", key=key, kind=Kind.CONSTANT, need=Need.IDENTITY, value=value)


def number(name: str, key: str = "", need: Need = Need.MEASURED) -> Column:
    """Declare a column of finite numbers."""
    return Column(name=name, key=key or name, kind=Kind.NUMBER, need=need)


def percentage(name: str, key: str = "") -> Column:
    """Declare a column of numbers from 0 to 100."""
    return Column(name=name, key=key or name, kind=Kind.LIMITED_NUMBER, low=0, high=100)


def integer(name: str, low: int, high: int, key: str = "", need: Need = Need.MEASURED) -> Column:
    """Declare a column of whole numbers from `low` to `high`."""
    return Column(name=name, key=key or name, kind=Kind.INTEGER, need=need, low=low, high=high)


def instant(name: str, key: str = "", need: Need = Need.MEASURED) -> Column:
    """Declare a column of instants."""
    return Column(name=name, key=key or name, kind=Kind.INSTANT, need=need)


def boolean(name: str, key: str = "") -> Column:
    """Declare a column of true and false, which a payload need not have."""
    return Column(name=name, key=key or name, kind=Kind.BOOLEAN, need=Need.OPTIONAL)


def array(name: str, key: str = "", need: Need = Need.MEASURED) -> Column:
    """Declare a column with the JSON text of an array."""
    return Column(name=name, key=key or name, kind=Kind.ARRAY, need=need)


def json_object(name: str, key: str = "", need: Need = Need.MEASURED) -> Column:
    """Declare a column with the JSON text of an object."""
    return Column(name=name, key=key or name, kind=Kind.OBJECT, need=need)


def structs(name: str, fields: Mapping[str, Kind], key: str = "") -> Column:
    """Declare a column with a list of structs that have these fields."""
    return Column(name=name, key=key or name, kind=Kind.STRUCTS, fields=fields)


def inside(outer: str, column: Column) -> Column:
    """Declare that a column's field is in the object that the payload has under `outer`."""
    return replace(column, outer=outer)
