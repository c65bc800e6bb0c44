"""Several adapters and one broker: an order of all link messages, which each adapter hears in that order, but late."""

from dataclasses import dataclass, field

from adapters.chargers.links import Links
from broker.contract.charging.topics import Link


@dataclass(eq=False)
class Socket:
    """A connection as an adapter sees it; `dropped` when the adapter has closed it."""

    client: str
    adapter: int
    dropped: str | None = None
    lost: bool = False
    link: Link | None = None


@dataclass
class Adapter:
    """One start of an adapter, and how much of the broker's order it has heard."""

    links: Links[Socket]
    heard: int
    alive: bool = True


@dataclass
class World:
    """The log is what the broker has; `outbox` what each adapter has said that the broker does not have yet."""

    count: int
    log: list[tuple[str, Link]] = field(default_factory=list)
    adapters: list[Adapter] = field(default_factory=list)
    sockets: list[Socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outbox: list[list[tuple[str, Link]]] = [[] for _ in range(self.count)]
        self.boots = 0
        self.adapters = [self._started(number) for number in range(self.count)]

    def _started(self, number: int) -> Adapter:
        self.boots += 1
        boot = f"boot{self.boots}"

        def drop(socket: Socket, why: str) -> None:
            socket.dropped = why

        links = Links[Socket](f"adapter-{number}", boot, lambda client, link: self.outbox[number].append((client, link)), drop)
        return Adapter(links, len(self.log))

    def connect(self, number: int, client: str) -> None:
        socket = Socket(client, number)
        self.sockets.append(socket)
        self.adapters[number].links.connected(client, socket, "127.0.0.1:1")
        socket.link = self.outbox[number][-1][1]

    def lose(self, index: int) -> None:
        """Whatever connection; what the adapter has closed ends too, later."""
        if self.sockets:
            socket = self.sockets[index % len(self.sockets)]
            if not socket.lost:
                socket.lost = True
                self.adapters[socket.adapter].links.lost(socket.client, socket, "gone")

    def publish(self, number: int, count: int) -> None:
        """Let what an adapter has said come to the broker."""
        self.log += self.outbox[number][:count]
        del self.outbox[number][:count]

    def hear(self, number: int, count: int) -> None:
        adapter = self.adapters[number]
        for client, link in self.log[adapter.heard : adapter.heard + count]:
            adapter.heard += 1
            adapter.links.heard(client, link)

    def restart(self, number: int) -> None:
        """Kill an adapter; the new one hears what is retained, then all that comes after."""
        self.outbox[number].clear()
        for socket in self.sockets:
            if socket.adapter == number:
                socket.lost = True
        self.adapters[number] = adapter = self._started(number)
        for client, link in {client: (client, link) for client, link in self.log}.values():
            adapter.links.heard(client, link)

    def settle(self) -> None:
        """Let everything be heard, and what was left behind be told, until nobody has anything to say."""
        for _ in range(50):
            for number in range(self.count):
                self.publish(number, len(self.outbox[number]))
            for number in range(self.count):
                self.hear(number, len(self.log))
            if not any(self.outbox):
                for adapter in self.adapters:
                    adapter.links.tell_stale()
                if not any(self.outbox):
                    return
        raise AssertionError("they talk for ever")

    def newest(self, client: str) -> Socket | None:
        """Of all connections of a client, the one that was announced last in the broker's order; None where that is lost."""
        last = None
        for number, (each, link) in enumerate(self.log):
            if (
                each == client
                and link.connected
                and link.connection not in {known.connection for _, known in self.log[:number]}
            ):
                last = link.connection
        for socket in self.sockets:
            if socket.link is not None and socket.link.connection == last:
                return None if socket.lost else socket
        return None

    def holders(self, client: str) -> list[Socket]:
        held = [adapter.links.get(client) for adapter in self.adapters]
        return [each for each in held if each is not None]

    def last_word(self, client: str) -> Link | None:
        return next((link for each, link in reversed(self.log) if each == client), None)
