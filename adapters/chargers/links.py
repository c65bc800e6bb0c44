"""Who is connected, of one kind, and what the bus is told of it. Pure.

Several adapters may run, and a client that lost power leaves a connection behind that looks open. The latest connection holds,
and the broker's order says which one that is: an adapter hears every `link` message of every adapter, its own among them. From
when it has heard its own word for a connection, another adapter's `connected` is later, and its own connection is dropped
without a word; another adapter's `not connected` was said of an older one, so its own word is repeated. What it hears before is
earlier than its own. A repeated word carries a reason: whoever hears it and has not dropped its own connection before holds the
later one, and repeats its word in turn. An own word that is the last while nothing is held is corrected after a while.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec.structs import replace

from broker.contract.charging.topics import Link

C = TypeVar("C")

ELSEWHERE = "connected again elsewhere"
RESTARTED = "not back after a restart of the adapter"
REPEATED = "said again: an older connection has ended, or was spoken of"
MOST_REPEATS = 20
"""For one connection. Two adapters that both missed what the other said first would repeat themselves for ever."""


@dataclass(slots=True)
class _Held(Generic[C]):
    """A connection, and whether the adapter has heard its own word for it."""

    connection: C
    link: Link
    confirmed: bool = False
    repeats: int = 0


class Links(Generic[C]):
    """The connections of one adapter to clients of one kind.

    Args:
        adapter: name of the component.
        boot: a new word at each start of it.
        tell: publishes the link of an id.
        drop: closes a connection; is told why.
    """

    def __init__(self, adapter: str, boot: str, tell: Callable[[str, Link], None], drop: Callable[[C, str], None]) -> None:
        self._adapter, self._boot = adapter, boot
        self._tell, self._drop = tell, drop
        self._held: dict[str, _Held[C]] = {}
        self._stale: dict[str, Link] = {}
        """Words of this adapter, perhaps of an earlier start, that were heard last and are not true."""
        self._number = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, client: str) -> bool:
        return client in self._held

    def get(self, client: str) -> C | None:
        """Return the connection of a client, None where it has none here."""
        held = self._held.get(client)
        return held.connection if held else None

    def connected(self, client: str, connection: C, address: str) -> None:
        """Take a new connection; the one before is dropped."""
        earlier = self._held.pop(client, None)
        self._stale.pop(client, None)
        self._number += 1
        link = Link(connected=True, adapter=self._adapter, connection=f"{self._boot}-{self._number}", address=address)
        self._held[client] = _Held(connection, link)
        self._tell(client, link)
        if earlier is not None:
            self._drop(earlier.connection, "replaced by a newer connection of the same id")

    def lost(self, client: str, connection: C, reason: str) -> None:
        """Forget a connection that has ended; one that was replaced before is no matter."""
        held = self._held.get(client)
        if held is None or held.connection is not connection:
            return
        del self._held[client]
        self._tell(client, _ended(held.link, reason))

    def heard(self, client: str, link: Link) -> None:
        """Take a link from the bus, of this adapter or of another."""
        held = self._held.get(client)
        if held is None:
            self._note_stale(client, link)
        elif link.connection == held.link.connection:
            held.confirmed = True
        elif held.confirmed and self._is_later(held, link):
            del self._held[client]
            self._drop(held.connection, ELSEWHERE)
        elif held.confirmed:
            held.repeats += 1
            self._tell(client, replace(held.link, reason=REPEATED))

    def _is_later(self, held: _Held[C], link: Link) -> bool:
        """Tell whether a word that comes after the own one is of a later connection.

        An own word of another connection is not: a broker that was killed may come back with an older one.
        """
        if not link.connected or link.adapter == self._adapter:
            return False
        return link.reason is None or held.repeats >= MOST_REPEATS

    def drop_unless(self, known: Callable[[str], bool], reason: str) -> None:
        """Drop the connections of clients that are not known any more."""
        for client in [each for each in self._held if not known(each)]:
            held = self._held.pop(client)
            self._tell(client, _ended(held.link, reason))
            self._drop(held.connection, reason)

    def tell_stale(self) -> None:
        """Say of clients that an earlier start of this adapter held, or this one, and that are not back, that they are gone."""
        stale, self._stale = self._stale, {}
        for client, link in stale.items():
            mine = link.connection.startswith(f"{self._boot}-")
            self._tell(client, _ended(link, ELSEWHERE if mine else RESTARTED))

    def _note_stale(self, client: str, link: Link) -> None:
        if link.connected and link.adapter == self._adapter:
            self._stale[client] = link
        else:
            self._stale.pop(client, None)


def _ended(link: Link, reason: str) -> Link:
    return replace(link, connected=False, reason=reason)
