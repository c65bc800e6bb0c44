"""Takeover: which of several connections of one client counts, also between several charger adapters. Pure.

A client that lost power leaves a connection behind that looks open. When it connects again, perhaps to another adapter, the
latest connection counts, and the broker's order of messages decides which one that is. Every adapter publishes a `link` message
for each of its connections, and receives those of all adapters, its own included:

- Before an adapter receives its own message for a connection, all others are earlier and are ignored.
- After that, `connected` of another adapter is later: the adapter drops its own connection without publishing anything.
- After that, `not connected` of another adapter is about an older connection: the adapter publishes its own message again, with
  a reason. An adapter that receives that message while it still holds its own connection publishes its message again in turn.
- If the last message about a client is this adapter's `connected` and it holds no connection, it is corrected after a while.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec.structs import replace

from broker.contract.charging.topics import ClientLink

C = TypeVar("C")

ELSEWHERE = "connected again elsewhere"
RESTARTED = "not back after a restart of the adapter"
REPEATED = "repeated: an older connection has ended, or was reported"
MOST_REPEATS = 20
"""For one connection. Two adapters that both missed the other's first message would repeat themselves for ever."""


@dataclass(slots=True)
class _Held(Generic[C]):
    """A connection, and whether the adapter has received its own message about it."""

    connection: C
    link: ClientLink
    confirmed: bool = False
    repeats: int = 0


class Connections(Generic[C]):
    """The connections of one adapter to clients of one kind.

    Args:
        adapter: name of the component.
        boot: a new id at each start of it.
        publish: publishes the link of a client.
        drop: closes a connection, with a reason.
    """

    def __init__(
        self, adapter: str, boot: str, publish: Callable[[str, ClientLink], None], drop: Callable[[C, str], None]
    ) -> None:
        self._adapter, self._boot = adapter, boot
        self._publish, self._drop = publish, drop
        self._held: dict[str, _Held[C]] = {}
        self._stale: dict[str, ClientLink] = {}
        """Clients whose last link is this adapter's `connected`, perhaps of an earlier start, but that it does not hold."""
        self._number = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, client: str) -> bool:
        return client in self._held

    def get(self, client: str) -> C | None:
        """Return the connection of a client, None where it has none here."""
        held = self._held.get(client)
        return held.connection if held else None

    def add(self, client: str, connection: C, address: str) -> None:
        """Take over with a new connection; the client's earlier one is dropped."""
        earlier = self._held.pop(client, None)
        self._stale.pop(client, None)
        self._number += 1
        link = ClientLink(connected=True, adapter=self._adapter, connection=f"{self._boot}-{self._number}", address=address)
        self._held[client] = _Held(connection, link)
        self._publish(client, link)
        if earlier is not None:
            self._drop(earlier.connection, "replaced by a newer connection of the same id")

    def remove(self, client: str, connection: C, reason: str) -> None:
        """Remove a connection that has ended; one that was replaced or dropped before is ignored."""
        held = self._held.get(client)
        if held is None or held.connection is not connection:
            return
        del self._held[client]
        self._publish(client, _ended(held.link, reason))

    def on_link(self, client: str, link: ClientLink) -> None:
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
            self._publish(client, replace(held.link, reason=REPEATED))

    def _is_later(self, held: _Held[C], link: ClientLink) -> bool:
        """Return whether a link received after the own one is of a later connection.

        A link of this adapter's other connections is not: a broker that was killed may come back with an older one.
        """
        if not link.connected or link.adapter == self._adapter:
            return False
        return link.reason is None or held.repeats >= MOST_REPEATS

    def drop_unless(self, known: Callable[[str], bool], reason: str) -> None:
        """Drop the connections of clients that are not known any more."""
        for client in [each for each in self._held if not known(each)]:
            held = self._held.pop(client)
            self._publish(client, _ended(held.link, reason))
            self._drop(held.connection, reason)

    def correct_stale(self) -> None:
        """Publish `not connected` for clients whose last link is this adapter's `connected`, and that are not back."""
        stale, self._stale = self._stale, {}
        for client, link in stale.items():
            mine = link.connection.startswith(f"{self._boot}-")
            self._publish(client, _ended(link, ELSEWHERE if mine else RESTARTED))

    def _note_stale(self, client: str, link: ClientLink) -> None:
        if link.connected and link.adapter == self._adapter:
            self._stale[client] = link
        else:
            self._stale.pop(client, None)


def _ended(link: ClientLink, reason: str) -> ClientLink:
    return replace(link, connected=False, reason=reason)
