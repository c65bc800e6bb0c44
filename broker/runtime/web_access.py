"""Which web pages may use the listeners of this machine. Pure.

A page that a browser shows can connect to every port of the machine that it runs on. The browser names the page's site in
`Origin`. A site can also point its own name at this machine (DNS rebinding) to look like a page of ours: then `Host` has
that name. Programs that are no browsers send no `Origin`.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from broker.runtime.settings import LOOPBACK, Settings

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/\s]+)(:[0-9]*)?")
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class WebAccess:
    """Who may use a listener from a browser.

    Args:
        addresses: the IP addresses that it is bound to.
        names: of this machine, in lower case, besides `localhost`.
        origins: of other sites whose pages are admitted.
    """

    addresses: tuple[str, ...] = LOOPBACK
    names: frozenset[str] = frozenset()
    origins: tuple[str, ...] = ()

    @classmethod
    def load(cls, settings: Settings, addresses: tuple[str, ...]) -> "WebAccess":
        """Return the access for listeners on `addresses`, under the names of this machine and those of the settings."""
        name = socket.gethostname().lower().rstrip(".")
        short = name.partition(".")[0]
        own = {name, short, f"{short}.local"} if name else set()
        return cls(addresses, frozenset(own | set(settings.host_names)), settings.origins)

    def refuse_host(self, hosts: Sequence[str]) -> str | None:
        """Return why a request with these `Host` headers is refused, None if it is not."""
        wrong = next((each for each in hosts if not self._is_own(each)), None)
        if wrong is None:
            return None
        return f"{wrong[:_LONGEST]!r} is not a name of this machine: if it should be, add it to SCAUP_HOST_NAMES"

    def refuse_origin(self, origins: Sequence[str], hosts: Sequence[str]) -> str | None:
        """Return why a request with these `Origin` and `Host` headers is refused, None if it is not."""
        own = {f"{scheme}://{each.lower()}" for each in hosts if self._is_own(each) for scheme in ("http", "https")}
        wrong = next((each for each in origins if each and each.lower() not in own and each.lower() not in self.origins), None)
        if wrong is None:
            return None
        return f"pages of {wrong[:_LONGEST]!r} may not use this: if they should, add that to SCAUP_CORS_ORIGINS"

    def _is_own(self, host: str) -> bool:
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match[1].strip("[]").rstrip(".")
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name in self.names
        if address.is_loopback:
            return True
        bound = [ipaddress.ip_address(each) for each in self.addresses]
        return any(each == address or (each.is_unspecified and each.version == address.version) for each in bound)
