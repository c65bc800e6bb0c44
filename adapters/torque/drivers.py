"""Which torque drivers there are: the setting, read and checked. Pure."""

import re
from dataclasses import dataclass

from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from broker.contract.fastening.topics import COMMAND
from broker.errors import InvalidSetting, InvalidTopic

ONLY_DRIVER = "driver-1"
"""What the driver is called when the setting is a single URL."""

_CREDENTIALS = re.compile(r"//[^/?#]*@")


@dataclass(frozen=True, slots=True)
class Driver:
    """A torque driver and where its websocket is."""

    name: str
    """A topic level."""
    url: str
    """`ws://` or `wss://`, perhaps with user and password."""


def without_credentials(text: str) -> str:
    """Leave out user and password of a URL, or of those in a text."""
    return _CREDENTIALS.sub("//", text)


def read_drivers(variable: str, text: str) -> tuple[Driver, ...]:
    """Read one URL, or a comma-separated list of `name=url`.

    Args:
        variable: name of the environment variable, for the errors.
        text: its value.

    Raises:
        InvalidSetting: an entry is empty, has no name among several, a name twice or one that cannot be a topic level, or a
            URL that no websocket can be opened to; the text names the variable, the entry and the fix.
    """
    entries = [each.strip() for each in text.split(",")]
    drivers: dict[str, Driver] = {}
    for number, entry in enumerate(entries, 1):
        try:
            driver = _driver(entry, alone=len(entries) == 1)
            if driver.name in drivers:
                raise InvalidSetting(f"there is a driver {driver.name!r} already: give this one another name")
        except InvalidSetting as error:
            raise InvalidSetting(f"{variable}, entry {number} ({_disguised(entry)!r}): {error}") from None
        drivers[driver.name] = driver
    return tuple(drivers.values())


def _driver(entry: str, alone: bool) -> Driver:
    if not entry:
        raise InvalidSetting(
            "it is empty: write ws://host:port, or name=ws://host:port,name=ws://host:port for several drivers"
        )
    name, url = _split(entry)
    if name is None and not alone:
        raise InvalidSetting("one of several drivers needs a name: write name=ws://host:port")
    return Driver(name=_checked_name(ONLY_DRIVER if name is None else name), url=_checked_url(url))


def _split(entry: str) -> tuple[str | None, str]:
    name, equals, url = entry.partition("=")
    if not equals or "://" in name:  # the = of a query
        return None, entry
    return name.strip(), url.strip()


def _checked_name(name: str) -> str:
    try:
        COMMAND.template.topic(driver=name)
    except InvalidTopic:
        raise InvalidSetting(f"{name!r} cannot be part of a topic: use a name without / + #, such as {ONLY_DRIVER}") from None
    return name


def _checked_url(url: str) -> str:
    try:
        parse_uri(url)
    except InvalidURI as error:
        raise InvalidSetting(f"{error.msg}: write ws://host:port or wss://host:port") from None
    except ValueError:  # a port that is no number, a bracket that is not closed: the text of the error may show the password
        raise InvalidSetting("host or port cannot be read: write ws://host:port or wss://host:port") from None
    return url


def _disguised(entry: str) -> str:
    """Leave out all that may be a password, also of what is no URL."""
    return re.sub(r"//.*@", "//", entry)
