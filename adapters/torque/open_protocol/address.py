"""The address of an Open Protocol tool: `openprotocol://HOST[:4545][?sets=1:10+2:13&revision=3&loosening=assumed]`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from adapters.torque.open_protocol.results import HIGHEST_REVISION
from broker.errors import InvalidSetting

SCHEME = "openprotocol"
DEFAULT_PORT = 4545
ASSUMED = "assumed"
_KEYS = ("sets", "revision", "loosening")
_FORM = "write openprotocol://host or openprotocol://host:port"


@dataclass(frozen=True, slots=True)
class OpenProtocolTool:
    """A tool, and what it cannot be asked for."""

    host: str
    port: int = DEFAULT_PORT
    sets: Mapping[int, float] = field(default_factory=dict)
    """Target torque, N·m, of parameter sets by their numbers; the tool is asked for its sets if there are none here."""
    revision: int = HIGHEST_REVISION
    """Highest revision of results to ask for."""
    loosening_assumed: bool = False
    """The tool does not report loosening: a reverse is confirmed as soon as it is commanded."""


def read_tool(url: str) -> OpenProtocolTool:
    """Read the address of a tool.

    Raises:
        InvalidSetting: it is not of the form above; the text names the part and the fix.
    """
    try:
        parts = urlsplit(url)
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        raise InvalidSetting(f"host or port cannot be read: {_FORM}") from None
    if not parts.hostname or not port or parts.username is not None or parts.path not in ("", "/") or parts.fragment:
        raise InvalidSetting(f"it needs a host and nothing else before the ?: {_FORM}")
    options = parse_qs(parts.query, keep_blank_values=True)
    for key, values in options.items():
        if key not in _KEYS or len(values) > 1:
            raise InvalidSetting(f"{key!r} is not an option, or is there twice: there are {', '.join(_KEYS)}")
    loosening = options.get("loosening", ["reported"])[0]
    if loosening not in (ASSUMED, "reported"):
        raise InvalidSetting(f"loosening={loosening}: write loosening={ASSUMED}, or leave it out")
    return OpenProtocolTool(
        host=parts.hostname,
        port=port,
        sets=_sets(options["sets"][0]) if "sets" in options else {},
        revision=_revision(options.get("revision", [str(HIGHEST_REVISION)])[0]),
        loosening_assumed=loosening == ASSUMED,
    )


def _sets(text: str) -> dict[int, float]:
    """Read `1:10 2:13.5`; the + of a URL stands for a blank."""
    sets: dict[int, float] = {}
    for each in text.split():
        name, _, torque = each.partition(":")
        try:
            number, target_nm = int(name), float(torque)
        except ValueError:
            number, target_nm = -1, 0.0
        if not 0 <= number <= 999 or not 0 < target_nm < float("inf") or number in sets:
            raise InvalidSetting(f"sets: {each!r} is no parameter set with its torque in N·m: write sets=1:10+2:13.5")
        sets[number] = target_nm
    if not sets:
        raise InvalidSetting("sets is empty: write sets=1:10+2:13.5, or leave it out")
    return sets


def _revision(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= HIGHEST_REVISION:
        raise InvalidSetting(f"revision={text}: write a number from 1 to {HIGHEST_REVISION}, or leave it out")
    return int(text)
