"""Limits on wrong logins, in bounded memory. Pure.

Three counters, each of which forgets with time:

- of a name from one address: someone who guesses one password, or a device with an old one;
- of an address, over all names;
- of a name, over all addresses: many machines that guess together.

A name that has logged in from an address is exempt there from the last two. So other devices behind the same address, and the
right user from where that user was before, are not locked out by someone else's guesses.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

MOST_ENTRIES = 4_096
"""In each table; the entry that was touched longest ago is dropped."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """`burst` wrong logins at once, and one more every `every_s` seconds."""

    burst: int
    every_s: float


PAIR, ADDRESS, NAME = Allowance(10, 6.0), Allowance(50, 2.0), Allowance(100, 6.0)


class Attempts:
    """The wrong logins of all clients. Times are in seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._pairs, self._addresses, self._names = _Counters(PAIR), _Counters(ADDRESS), _Counters(NAME)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Network and name of successful logins."""

    def wait_s(self, name: str, address: str, now_s: float) -> float:
        """Return for how many seconds a login is refused unread, 0 where it may be tried."""
        network = network_of(address)
        wait_s = self._pairs.wait_s((network, name), now_s)
        if (network, name) not in self._known:
            wait_s = max(wait_s, self._addresses.wait_s(network, now_s), self._names.wait_s(name, now_s))
        return wait_s

    def wrong(self, name: str, address: str, now_s: float) -> None:
        """Count a wrong login."""
        network = network_of(address)
        self._pairs.count((network, name), now_s)
        self._addresses.count(network, now_s)
        self._names.count(name, now_s)

    def right(self, name: str, address: str) -> None:
        """Note a successful login. It clears no counter: a guesser may share the address of the right user."""
        key = (network_of(address), name)
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > MOST_ENTRIES:
            self._known.popitem(last=False)


def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the first 64 bits of an IPv6 address, all of one customer."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))


class _Counters:
    """Counters by key that each fall by one every `every_s`."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._empty_at_s: OrderedDict[Hashable, float] = OrderedDict()
        """When each counter will have fallen to 0."""

    def wait_s(self, key: Hashable, now_s: float) -> float:
        """Return how long it takes until one more may be counted."""
        burst, every_s = self._allowance.burst, self._allowance.every_s
        return max(0.0, self._empty_at_s.get(key, now_s) - now_s - (burst - 1) * every_s)

    def count(self, key: Hashable, now_s: float) -> None:
        """Count one."""
        self._empty_at_s[key] = max(now_s, self._empty_at_s.get(key, now_s)) + self._allowance.every_s
        self._empty_at_s.move_to_end(key)
        if len(self._empty_at_s) > MOST_ENTRIES:
            self._empty_at_s.popitem(last=False)
