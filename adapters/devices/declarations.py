"""Declarations of devices: one TOML text → what it declares, or the first thing that is wrong with it. Pure.

`KEYWORDS` has what each kind may have. `read_file` checks a file alone. `check_together` checks the declarations of all files
against each other: no NAME twice, and no `from` that would receive what another declaration sends.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from adapters.devices.declared import REGISTER_UNITS, VALUE_UNITS, DeclarationError, Declared
from adapters.devices.lines import Lines
from adapters.devices.modbus.declared import Modbus, ModbusError, read_modbus
from adapters.devices.rules import RuleReader
from adapters.devices.send import Send, SendError, read_send
from adapters.devices.sparkplug.host import NAMESPACE
from adapters.devices.values import Rule
from broker.contract import device_filters, replay, streams
from broker.contract.devices.topics import KINDS
from broker.contract.heating.topics import READING as TEMPERATURE
from broker.errors import InvalidTopic
from broker.mqtt.topics import overlaps, validate_filter, validate_topic

SOURCE = frozenset({"from", "time", "retained"})
RULE = frozenset({"pick", "default", "number", "strip", "scale", "offset", "map", "range"})
KEYWORDS: Mapping[str, frozenset[str]] = {
    "sensor": SOURCE | RULE | {"room", "value"},
    "setpoint": SOURCE | RULE | {"room", "value", "to", "send"},
    "machine": SOURCE | {"machine", "name", "description", "value"},
    "meter": SOURCE | RULE | {"ship", "value", "register", "unit", "falls"},
    "charger": SOURCE | RULE | {"charger", "value"},
    "table": SOURCE | {"value"},
    "valve": frozenset({"to", "room", "send"}),
}
MACHINE_FIELDS = ("temperature", "fan_speed", "status")
COLUMN_TYPES = ("double", "bigint", "boolean", "varchar", "timestamp")
OWN_COLUMNS = ("received_at", "event_at", "topic")
FALLS = ("ignore", "reset", "swap")
LONGEST_SHIP = 100
MOST_NESTED = 32
"""Levels of a document. Deeper ones would exhaust the stack of what reads or sends them."""
INTEGERS = range(-(2**63), 2**63)
"""What TOML has integers for, and JSON can be written with."""

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)$| \(at end of document\)$")


def read_file(file: str, text: str) -> tuple[Declared, ...]:
    """Return what a file declares.

    Args:
        file: its name, for errors.
        text: its content.

    Raises:
        DeclarationError: it cannot be used.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else max(1, text.count("\n"))
        raise DeclarationError(file, line, (), f"not TOML: {_TOML_PLACE.sub('', str(error))}") from None
    except RecursionError:
        raise DeclarationError(file, 1, (), f"nested deeper than {MOST_NESTED} levels") from None
    except ValueError:  # Python reads no integer of thousands of digits
        raise DeclarationError(file, 1, (), "an integer needs more than 64 bits") from None
    lines = Lines(text)
    _check_values(file, lines, document)
    found = []
    for kind, tables in document.items():
        if kind not in KINDS:
            raise DeclarationError(file, lines.of(kind), (kind,), f"unknown kind, expected one of {', '.join(KINDS)}")
        if not isinstance(tables, dict):
            raise DeclarationError(file, lines.of(kind), (kind,), "must be tables [KIND.NAME]")
        found += [_Table(file, lines, kind, name, content).read() for name, content in tables.items()]
    return tuple(found)


def _check_values(file: str, lines: Lines, document: Any) -> None:
    """Refuse what nests too deeply, and integers that are none of TOML."""
    waiting: list[tuple[tuple[str, ...], int, Any]] = [((), 0, document)]
    while waiting:
        keys, depth, value = waiting.pop()
        if depth > MOST_NESTED:
            raise DeclarationError(file, lines.of(*keys), keys[:3], f"nested deeper than {MOST_NESTED} levels")
        if isinstance(value, int) and value not in INTEGERS:
            raise DeclarationError(file, lines.of(*keys), keys, "an integer needs more than 64 bits")
        if isinstance(value, dict):
            waiting += [((*keys, key), depth + 1, each) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(keys, depth + 1, each) for each in value]


def check_together(files: Iterable[tuple[Declared, ...]]) -> None:
    """Check declarations of all files against each other.

    Raises:
        DeclarationError: a NAME is there twice in a kind, or a declaration would receive what one sends; of the later file.
    """
    known: dict[str, Declared] = {}
    for declared in files:
        for each in declared:
            other = known.setdefault(each.id, each)
            if other is not each:
                _refuse(each, (), f"declared twice, also in {other.file}:{other.line}")
            _check_loop(each, known.values())


def _check_loop(new: Declared, known: Iterable[Declared]) -> None:
    for each in known:
        for receiver, sender in ((new, each), (each, new)):
            if receiver.source is not None and sender.to is not None and overlaps(receiver.source, sender.to):
                key = "from" if receiver is new else "to"
                _refuse(new, (key,), f"`from` of {receiver.id} receives what {sender.id} sends to {sender.to}")


def _refuse(declared: Declared, keys: tuple[str, ...], reason: str) -> NoReturn:
    line = declared.key_lines.get(keys[0], declared.line) if keys else declared.line
    raise DeclarationError(declared.file, line, (declared.kind, declared.name, *keys), reason)


class _Table(RuleReader):
    """Reads one table `[KIND.NAME]`."""

    def read(self) -> Declared:
        """Return the declaration.

        Raises:
            DeclarationError: it cannot be used.
        """
        kind = self._kind
        modbus = self._modbus() if "modbus" in self._content else None
        for key in self._content:
            if key not in KEYWORDS[kind]:
                self._fail((key,), f"unknown keyword of a {kind}, expected one of {', '.join(sorted(KEYWORDS[kind]))}")
        receives = kind != "valve" and ("from" in self._content or "to" not in self._content)
        sends = kind == "valve" or "to" in self._content or "send" in self._content
        falls = self._falls() if kind == "meter" else None
        values = self._values() if receives else {}
        if not receives:
            self._none_of(SOURCE | RULE | {"value"}, "needs `from`")
        to = self._to() if sends else None
        return Declared(
            kind=kind,
            name=self._name,
            file=self._file,
            line=self._lines.of(kind, self._name),
            key_lines={key: self._lines.of(kind, self._name, key) for key in self._content},
            source=self._source() if receives and modbus is None else None,
            values=values,
            time=self._path(("time",), self._content["time"]) if "time" in self._content else None,
            retained=self._flag("retained"),
            identity=self._identity(),
            label=self._text("name"),
            description=self._text("description"),
            unit=self._unit(falls) if kind == "meter" else None,
            falls=falls,
            types=self._types() if kind == "table" else {},
            to=to,
            send=self._send() if sends else None,
            modbus=modbus,
        )

    def _modbus(self) -> Modbus:
        """Return what is read by Modbus; its keywords give way to those of a message with the values."""
        try:
            modbus, self._content = read_modbus(self._kind, self._content)
        except ModbusError as error:
            self._fail(error.keys, error.reason)
        return modbus

    def _none_of(self, keys: Iterable[str], reason: str) -> None:
        for key in keys:
            if key in self._content:
                self._fail((key,), reason)

    def _needed(self, key: str) -> Any:
        if key not in self._content:
            self._fail((key,), "is missing")
        return self._content[key]

    def _text(self, key: str) -> str | None:
        value = self._content.get(key)
        if value is not None and not isinstance(value, str):
            self._fail((key,), "must be a text")
        return value

    def _flag(self, key: str) -> bool:
        value = self._content.get(key, False)
        if not isinstance(value, bool):
            self._fail((key,), "must be true or false")
        return value

    def _source(self) -> str:
        source = self._needed("from")
        if not isinstance(source, str):
            self._fail(("from",), "must be a text, the filter of topics")
        try:
            validate_filter(source)
        except InvalidTopic as error:
            self._fail(("from",), str(error))
        self._check_topic(("from",), source)
        if source.startswith("$"):
            self._fail(("from",), "topics that begin with $ are the broker's own")
        if (own := _of_contract(source)) is not None:
            self._fail(("from",), f"{source!r} matches topics of Scaup itself ({own}), which need no declaration")
        if source.startswith(f"{NAMESPACE}/"):
            self._check_sparkplug(source)
        return source

    def _check_sparkplug(self, source: str) -> None:
        levels = source.split("/")
        if len(levels) not in (4, 5) or levels[2] != "+" or "#" in levels:
            form = f"{NAMESPACE}/GROUP/+/NODE"
            self._fail(("from",), f"must be {form} for an edge node, or {form}/DEVICE for a device of it")
        if self._kind == "table":
            self._fail(("from",), "a table is a view of messages in JSON, which those of Sparkplug are not")
        self._none_of(("time", "retained", "pick"), "has no meaning for Sparkplug, whose metrics have their own times")
        if self._kind != "machine" and not {"value", "register"} & self._content.keys():
            self._fail(("value",), "is missing: the name of a metric")

    def _to(self) -> str:
        to = self._needed("to")
        if not isinstance(to, str):
            self._fail(("to",), "must be a text, a topic")
        try:
            validate_topic(to)
        except InvalidTopic as error:
            self._fail(("to",), str(error))
        self._check_topic(("to",), to)
        if to.startswith("$"):
            self._fail(("to",), "topics that begin with $ are the broker's own")
        if (own := _of_contract(to)) is not None:
            self._fail(("to",), f"{to!r} is a topic of Scaup itself ({own})")
        return to

    def _send(self) -> Send:
        try:
            return read_send(self._needed("send"), self._kind)
        except SendError as error:
            self._fail(("send", *error.keys), error.reason)

    def _check_topic(self, keys: tuple[str, ...], text: str) -> None:
        """Refuse what the broker's access file cannot hold."""
        if text != text.strip() or not text.isprintable():
            self._fail(keys, "must have no blanks around it, and printable characters only")

    def _identity(self) -> str:
        key = {"sensor": "room", "setpoint": "room", "valve": "room", "meter": "ship"}.get(self._kind, self._kind)
        if self._kind == "table":
            return ""
        value = self._needed(key)
        if self._kind == "machine":
            if type(value) is not int or abs(value) >= 2**53:
                self._fail((key,), "must be a whole number")
        elif type(value) not in (str, int):
            self._fail((key,), "must be a text or a whole number")
        text = str(value)
        try:
            TEMPERATURE.template.topic(room=text)
        except InvalidTopic:
            self._fail((key,), f"{text!r} cannot be a level of a topic: not empty, without / + # and control characters")
        self._check_topic((key,), text)
        if self._kind == "meter" and (len(text) > LONGEST_SHIP or text == "answer"):
            self._fail((key,), f"must have {LONGEST_SHIP} characters at most, and not be `answer`")
        return text

    def _falls(self) -> str | None:
        if "register" not in self._content:
            self._none_of(("falls",), "belongs to `register`")
            return None
        self._none_of(("value",), "a meter has either `value` or `register`")
        falls = self._content.get("falls", FALLS[0])
        if falls not in FALLS:
            self._fail(("falls",), f"must be one of {', '.join(FALLS)}")
        return str(falls)

    def _unit(self, falls: str | None) -> str:
        unit, known = self._needed("unit"), VALUE_UNITS if falls is None else REGISTER_UNITS
        if unit not in list(known):
            self._fail(("unit",), f"must be one of {', '.join(known)}")
        return str(unit)

    def _values(self) -> dict[str, Rule]:
        if self._kind in ("machine", "table"):
            return self._fields()
        key = "register" if "register" in self._content else "value"
        path = self._path((key,), self._content[key]) if key in self._content else ()
        rule = self._rule((), self._content, path)
        if self._kind == "charger" and rule.low is None:
            rule = Rule(**{**_members(rule), "low": 0.0, "high": 100.0})
        return {"": rule}

    def _fields(self) -> dict[str, Rule]:
        given = self._needed("value")
        if not isinstance(given, dict) or not given:
            self._fail(("value",), "must have fields: value.FIELD = PATH")
        found = {}
        allowed = RULE | {"of"} | ({"type"} if self._kind == "table" else set())
        for name, content in given.items():
            keys = ("value", name)
            if self._kind == "machine" and name not in MACHINE_FIELDS:
                self._fail(keys, f"unknown field of a machine, expected one of {', '.join(MACHINE_FIELDS)}")
            if self._kind == "table" and (not _COLUMN.fullmatch(name) or name.lower() in OWN_COLUMNS):
                self._fail(keys, f"a column has letters, digits and _, and is none of {', '.join(OWN_COLUMNS)}")
            if not isinstance(content, dict):
                content = {"of": content}
            for key in content:
                if key not in allowed:
                    self._fail((*keys, key), f"unknown keyword, expected one of {', '.join(sorted(allowed))}")
            path = self._path((*keys, "of"), content["of"]) if "of" in content else ()
            found[name] = self._rule(keys, content, path)
        return found

    def _types(self) -> dict[str, str]:
        found = {}
        for name, content in self._content["value"].items():
            kind = content.get("type") if isinstance(content, dict) else None
            if kind not in COLUMN_TYPES:
                self._fail(("value", name, "type"), f"must be one of {', '.join(COLUMN_TYPES)}")
            found[name] = str(kind)
        return found


def _members(rule: Rule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in Rule.__dataclass_fields__}


def _of_contract(topic_filter: str) -> str | None:
    """Return the filter of the contract that selects a topic which this one selects too."""
    own = (*(each.template.filter for each in streams()), *device_filters(), f"{replay.PREFIX}#", "devices/#")
    return next((each for each in own if overlaps(topic_filter, each)), None)
