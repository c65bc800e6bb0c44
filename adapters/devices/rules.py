"""The keywords of a value in a table of a declaration: path, pick, default, strip, number, map, scale, offset, range. Pure."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from adapters.devices.declared import DeclarationError, is_name
from adapters.devices.lines import Lines
from adapters.devices.sparkplug.host import NAMESPACE
from adapters.devices.values import Path, Rule, Scalar


class RuleReader:
    """Reads the keywords of values in one table `[KIND.NAME]`. What is wrong raises `DeclarationError`, with its line."""

    def __init__(self, file: str, lines: Lines, kind: str, name: str, content: Any) -> None:
        self._file, self._lines, self._kind, self._name = file, lines, kind, name
        if not is_name(name):
            self._fail((), "a name has letters, digits, - and _ only, 200 at most")
        if not isinstance(content, dict):
            self._fail((), "must be a table")
        self._content: dict[str, Any] = content

    def _fail(self, keys: tuple[str, ...], reason: str) -> NoReturn:
        where = (self._kind, self._name, *keys)
        raise DeclarationError(self._file, self._lines.of(*where), where, reason)

    def _path(self, keys: tuple[str, ...], given: Any) -> Path:
        if isinstance(given, str) and given:
            # in a `from` of Sparkplug a path is a metric's whole name
            if str(self._content.get("from", "")).startswith(f"{NAMESPACE}/"):
                return (given,)
            parts = tuple(given.split("."))
            if all(parts):
                return parts
        if isinstance(given, list) and given and all(type(each) in (str, int) and each != "" for each in given):
            return tuple(given)
        return self._fail(keys, "must be a path: keys joined by dots, or a list of keys")

    def _rule(self, keys: tuple[str, ...], given: Mapping[str, Any], path: Path) -> Rule:
        low, high = self._range((*keys, "range"), given.get("range"))
        return Rule(
            path=path,
            pick=self._pick((*keys, "pick"), given.get("pick")),
            default=self._scalar((*keys, "default"), given.get("default")),
            strip=self._strip((*keys, "strip"), given.get("strip")),
            number=self._switch((*keys, "number"), given.get("number", False)),
            map=self._map((*keys, "map"), given.get("map")),
            scale=self._number((*keys, "scale"), given.get("scale")),
            offset=self._number((*keys, "offset"), given.get("offset")),
            low=low,
            high=high,
        )

    def _switch(self, keys: tuple[str, ...], given: Any) -> bool:
        if not isinstance(given, bool):
            self._fail(keys, "must be true or false")
        return given

    def _strip(self, keys: tuple[str, ...], given: Any) -> str | None:
        if given is not None and not isinstance(given, str):
            self._fail(keys, "must be a text")
        return given

    def _scalar(self, keys: tuple[str, ...], given: Any) -> Scalar | None:
        if given is not None and not (type(given) in (bool, int, str) or (type(given) is float and math.isfinite(given))):
            self._fail(keys, "must be a text, a number, true or false")
        return given  # type: ignore[no-any-return]

    def _number(self, keys: tuple[str, ...], given: Any) -> float | None:
        if given is not None and (type(given) not in (int, float) or not math.isfinite(given)):
            self._fail(keys, "must be a number")
        return given  # type: ignore[no-any-return]

    def _range(self, keys: tuple[str, ...], given: Any) -> tuple[float | None, float | None]:
        if given is None:
            return None, None
        if not isinstance(given, list) or len(given) != 2:
            self._fail(keys, "must be [LOWEST, HIGHEST]")
        low, high = (self._number(keys, each) for each in given)
        if low is None or high is None or low > high:
            self._fail(keys, "must be [LOWEST, HIGHEST]")
        return low, high

    def _pick(self, keys: tuple[str, ...], given: Any) -> tuple[tuple[str, Scalar], ...]:
        if given is None:
            return ()
        if not isinstance(given, dict) or not given:
            self._fail(keys, "must be { FIELD = VALUE }")
        return tuple((name, self._scalar((*keys, name), value)) for name, value in given.items())  # type: ignore[misc]

    def _map(self, keys: tuple[str, ...], given: Any) -> dict[str, Scalar] | None:
        if given is None:
            return None
        if not isinstance(given, dict) or not given:
            self._fail(keys, "must be { TEXT = VALUE, … }")
        return {name: self._scalar((*keys, name), value) for name, value in given.items()}  # type: ignore[misc]
