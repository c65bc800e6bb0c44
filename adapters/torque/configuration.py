"""The setting that lists the torque drivers, read and checked. Pure."""

import re
from dataclasses import dataclass

from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from adapters.torque.open_protocol.address import SCHEME, read_tool
from broker.contract.fastening.topics import COMMAND
from broker.errors import InvalidSetting, InvalidTopic

ONLY_DRIVER = "driver-1"
"""The driver's name when the setting is a single URL."""

_CREDENTIALS = re.compile(r"//[^/?#]*@")


@dataclass(frozen=True, slots=True)
class TorqueDriver:
    """A torque driver and its address."""

    name: str
    """One topic level."""
    url: str
    """Of a websocket, `ws://…` or `wss://…`, perhaps with user and password, or of an Open Protocol tool, `openprotocol://…`."""

    @property
    def speaks_open_protocol(self) -> bool:
        """Whether it is an Open Protocol tool."""
        return self.url.lower().startswith(f"{SCHEME}://")


def without_credentials(text: str) -> str:
    """Remove user and password from a URL, or from all URLs in a text."""
    return _CREDENTIALS.sub("//", text)


def read_drivers(variable: str, text: str) -> tuple[TorqueDriver, ...]:
    """Read one URL, or a comma-separated list of `name=url`.

    Args:
        variable: name of the environment variable, for the errors.
        text: its value.

    Raises:
        InvalidSetting: an entry is empty, is one of several and has no name, repeats a name, has a name that cannot be a topic
            level, or has a URL that is neither one of a websocket nor one of an Open Protocol tool; the text names the
            variable, the entry and the fix.
    """
    entries = [each.strip() for each in text.split(",")]
    drivers: dict[str, TorqueDriver] = {}
    for number, entry in enumerate(entries, 1):
        try:
            driver = _driver(entry, only=len(entries) == 1)
            if driver.name in drivers:
                raise InvalidSetting(f"the name {driver.name!r} is used twice: give this driver another one")
        except InvalidSetting as error:
            raise InvalidSetting(f"{variable}, entry {number} ({_without_secrets(entry)!r}): {error}") from None
        drivers[driver.name] = driver
    return tuple(drivers.values())


def _driver(entry: str, only: bool) -> TorqueDriver:
    if not entry:
        raise InvalidSetting(
            "it is empty: write ws://host:port, or name=ws://host:port,name=ws://host:port for several drivers"
        )
    name, url = _split(entry)
    if name is None and not only:
        raise InvalidSetting("one of several drivers needs a name: write name=ws://host:port")
    driver = TorqueDriver(name=_checked_name(ONLY_DRIVER if name is None else name), url=url)
    if driver.speaks_open_protocol:
        read_tool(url)
    else:
        _check_url(url)
    return driver


def _split(entry: str) -> tuple[str | None, str]:
    name, equals, url = entry.partition("=")
    if not equals or "://" in name:  # the = belongs to the URL's query
        return None, entry
    return name.strip(), url.strip()


def _checked_name(name: str) -> str:
    try:
        COMMAND.template.topic(driver=name)
    except InvalidTopic:
        raise InvalidSetting(f"{name!r} cannot be part of a topic: use a name without / + #, such as {ONLY_DRIVER}") from None
    return name


def _check_url(url: str) -> None:
    try:
        parse_uri(url)
    except InvalidURI as error:
        raise InvalidSetting(f"{error.msg}: write ws://host:port, wss://host:port or openprotocol://host") from None
    except ValueError:  # for example a bad port; the text of the error may contain the password
        raise InvalidSetting("host or port cannot be read: write ws://host:port or wss://host:port") from None


def _without_secrets(entry: str) -> str:
    """Remove everything that may be a password, also from text that is not a URL."""
    return re.sub(r"//.*@", "//", entry)
