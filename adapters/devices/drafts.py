"""A declaration proposed from recorded payloads of a topic, and from Home Assistant discovery messages about it. Pure."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.devices.times import read_time
from adapters.devices.values import Malformed, Path
from broker.errors import Rejected
from broker.message import read_json

Field = tuple[Path, Any]

TEMPERATURES = ("temperature", "local_temperature", "current_temperature", "room_temperature", "temp", "tc")
TIMES = ("last_seen", "timestamp", "time", "ts", "unixtime", "datetime")
LEVELS = ("valve_opening_degree", "position", "pi_heating_demand", "valve_position", "pos")
SETPOINTS = ("occupied_heating_setpoint", "current_heating_setpoint")
STATES_OF_CHARGE = ("soc", "state_of_charge", "battery_soc")
REGISTERS = {"total_act": "Wh", "act_energy": "Wh", "energy_wh": "Wh", "energy": "kWh", "total": "kWh", "energy_kwh": "kWh"}
POWERS = {"power": "W", "act_power": "W", "total_act_power": "W", "apower": "W", "power_kw": "kW"}
_UNITS = {"W", "kW", "Wh", "kWh", "MWh"}
_TEMPLATE = re.compile(r"value_json((?:\.\w+|\[\s*(?:'[^']*'|\"[^\"]*\"|\d+)\s*\])+)")
_STEP = re.compile(r"\.(\w+)|\[\s*(?:'([^']*)'|\"([^\"]*)\"|(\d+))\s*\]")


def draft(topic: str, payloads: Sequence[bytes], discovery: Iterable[bytes] = ()) -> str:
    """Return the text of a declaration for a topic.

    Args:
        topic: of the device.
        payloads: recorded ones, the newest last.
        discovery: payloads of Home Assistant discovery messages, of any topic; those about `topic` are used.
    """
    name = _name(topic)
    head = [f"# proposed from {len(payloads)} recorded messages on {topic}: check room, names and units"]
    found = [text for each in discovery if (text := _discovered(topic, name, each))]
    if not found:
        documents = [document for each in payloads if (document := _decoded(each)) is not None]
        found = [_from_payloads(topic, name, documents)]
    return "\n".join([*head, *_distinct(dict.fromkeys(found))])


def _distinct(texts: Iterable[str]) -> Iterator[str]:
    """Yield declarations with different names: several entities may be about one topic."""
    seen: Counter[str] = Counter()
    for text in texts:
        header, _, rest = text.partition("]\n")
        seen[header] += 1
        yield text if seen[header] == 1 else f"{header}-{seen[header]}]\n{rest}"


def _from_payloads(topic: str, name: str, documents: Sequence[Any]) -> str:
    fields: dict[Path, Any] = {}
    for each in documents:
        fields |= {path: value for path, value in _fields(each) if value is not None}
    time = _time(fields)
    extra = [] if time is None else [f"time  = {_path(time)}"]
    source = [f"from  = {_text(topic)}"]
    room = [f"room  = {_text(name)}"]
    if fields.keys() == {()}:
        value = fields[()]
        if _is_number(value):
            return _lines(f"[sensor.{name}]", *source, *room)
        return _lines(f"[table.{name}]", *source, f"value.value = {{ type = {_text(_type(value))} }}")
    if (path := _named(fields, TEMPERATURES)) is not None:
        sensor = _lines(f"[sensor.{name}]", *source, *room, f"value = {_path(path)}", *extra)
        return sensor + _output(topic, name, fields)
    if (path := _named(fields, STATES_OF_CHARGE)) is not None:
        return _lines(f"[charger.{name}]", *source, f"charger = {_text(name)}", f"value = {_path(path)}", *extra)
    for table, key in ((REGISTERS, "register"), (POWERS, "value")):
        if (path := _named(fields, tuple(table))) is not None:
            unit = table[str(path[-1]).lower()]
            ship = f"ship  = {_text(name)}"
            return _lines(f"[meter.{name}]", *source, ship, f"{key} = {_path(path)}", f"unit  = {_text(unit)}", *extra)
    columns = [
        f"value.{_column(path)} = {{ of = {_path(path)}, type = {_text(_type(value))} }}"
        for path, value in fields.items()
        if path != time
    ]
    if not columns:
        columns = ['value.value = { type = "varchar" }']
    return _lines(f"[table.{name}]", *source, *dict.fromkeys(columns), *extra)


def _output(topic: str, name: str, fields: Mapping[Path, Any]) -> str:
    """Return the valve of a thermostat of Zigbee2MQTT, which takes commands below its own topic."""
    for names, of in ((LEVELS, "level"), (SETPOINTS, "setpoint")):
        path = _named(fields, names)
        if path is not None and len(path) == 1:
            send = f"send.{path[0]} = {{ of = {_text(of)} }}"
            return "\n" + _lines(f"[valve.{name}]", f"to    = {_text(topic + '/set')}", f"room  = {_text(name)}", send)
    return ""


def _discovered(topic: str, name: str, payload: bytes) -> str | None:
    """Return the declaration that a discovery message leads to, None if it is about something else."""
    given = _decoded(payload)
    if not isinstance(given, dict):
        return None
    base = str(given.get("~", ""))
    state = str(given.get("state_topic", given.get("stat_t", ""))).replace("~", base)
    if state != topic:
        return None
    template = str(given.get("value_template", given.get("val_tpl", "")))
    match = _TEMPLATE.search(template)
    path = tuple(next(part for part in step if part) for step in _STEP.findall(match[1])) if match else ()
    value = [f"value = {_path(path)}"] if path else []
    unit = str(given.get("unit_of_measurement", given.get("unit_of_meas", "")))
    kind = str(given.get("device_class", given.get("dev_cla", "")))
    source = f"from  = {_text(topic)}"
    if kind == "temperature":
        scale = ["scale = 0.5555555555555556", "offset = -17.77777777777778"] if unit == "°F" else []
        return _lines(f"[sensor.{name}]", source, f"room  = {_text(name)}", *value, *scale)
    if kind in ("energy", "power") and unit in _UNITS:
        key = "register" if kind == "energy" else "value"
        where = [f"{key} = {_path(path)}"] if path else []
        if kind == "energy" and not path:
            return None
        return _lines(f"[meter.{name}]", source, f"ship  = {_text(name)}", *where, f"unit  = {_text(unit)}")
    return None


def _fields(value: Any, path: Path = ()) -> Iterator[Field]:
    """Yield the scalars of a payload with their paths."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key:
                yield from _fields(each, (*path, key))
    elif isinstance(value, list):
        for place, each in enumerate(value[:20]):
            yield from _fields(each, (*path, place))
    else:
        yield path, value


def _named(fields: Mapping[Path, Any], names: Sequence[str]) -> Path | None:
    """Return the shortest path to a number whose last key has one of the names, the first name first."""
    for name in names:
        found = [path for path, value in fields.items() if path and str(path[-1]).lower() == name and _is_number(value)]
        if found:
            return min(found, key=len)
    return None


def _time(fields: Mapping[Path, Any]) -> Path | None:
    for name in TIMES:
        for path, value in fields.items():
            if path and str(path[-1]).lower() == name:
                try:
                    if read_time(value, datetime.now(UTC)).year >= 2000:  # else it counts from a start
                        return path
                except Malformed:
                    pass
    return None


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if _is_number(value):
        return "double"
    try:
        read_time(value, datetime.now(UTC))
    except Malformed:
        return "varchar"
    return "timestamp"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _decoded(payload: bytes) -> Any:
    try:
        return read_json(payload)
    except Rejected:
        try:
            return payload.decode()
        except UnicodeDecodeError:
            return None


def _name(topic: str) -> str:
    """Return a NAME for a topic: its last level that says something."""
    generic = ("state", "status", "sensor", "tele", "stat", "config", "events", "rpc")
    levels = [re.sub(r"[^A-Za-z0-9_-]+", "-", level).strip("-") for level in topic.split("/")]
    named = [level for level in levels if level and level.lower() not in generic and not level.isdigit()]
    return named[-1] if len(named) > 1 or not named else named[0] if named else "device"


def _column(path: Path) -> str:
    text = re.sub(r"[^A-Za-z0-9_]+", "_", "_".join(map(str, path))).strip("_").lower() or "value"
    text = f"_{text}" if text[0].isdigit() else text
    return f"{text}_" if text in ("received_at", "event_at", "topic") else text


def _path(path: Path) -> str:
    if all(isinstance(each, int) or (each and "." not in each) for each in path):
        return _text(".".join(map(str, path)))
    return "[" + ", ".join(_text(each) if isinstance(each, str) else str(each) for each in path) + "]"


def _text(text: str) -> str:
    """Return a text as TOML has it: its escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
