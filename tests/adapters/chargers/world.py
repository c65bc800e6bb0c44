"""Several adapters and one broker: each adapter receives all link messages in the broker's order, but late."""

from dataclasses import dataclass, field

from adapters.chargers.takeover import Connections
from broker.contract.charging.topics import ClientLink


@dataclass(eq=False)
class Socket:
    """A connection as an adapter sees it; `dropped` once the adapter has closed it."""

    client: str
    adapter: int
    dropped: str | None = None
    lost: bool = False
    link: ClientLink | None = None


@dataclass
class Adapter:
    """One start of an adapter, and how many of the broker's messages it has received."""

    connections: Connections[Socket]
    received: int
    alive: bool = True


@dataclass
class World:
    """`log` holds the broker's messages, `outbox` those of each adapter that have not reached the broker yet."""

    count: int
    log: list[tuple[str, ClientLink]] = field(default_factory=list)
    adapters: list[Adapter] = field(default_factory=list)
    sockets: list[Socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outbox: list[list[tuple[str, ClientLink]]] = [[] for _ in range(self.count)]
        self.boots = 0
        self.adapters = [self._started(number) for number in range(self.count)]

    def _started(self, number: int) -> Adapter:
        self.boots += 1
        boot = f"boot{self.boots}"

        def drop(socket: Socket, why: str) -> None:
            socket.dropped = why

        connections = Connections[Socket](
            f"adapter-{number}", boot, lambda client, link: self.outbox[number].append((client, link)), drop
        )
        return Adapter(connections, len(self.log))

    def connect(self, number: int, client: str) -> None:
        socket = Socket(client, number)
        self.sockets.append(socket)
        self.adapters[number].connections.add(client, socket, "127.0.0.1:1")
        socket.link = self.outbox[number][-1][1]

    def lose(self, index: int) -> None:
        """End any connection; one that the adapter has closed ends later too."""
        if self.sockets:
            socket = self.sockets[index % len(self.sockets)]
            if not socket.lost:
                socket.lost = True
                self.adapters[socket.adapter].connections.remove(socket.client, socket, "lost")

    def publish(self, number: int, count: int) -> None:
        """Deliver an adapter's messages to the broker."""
        self.log += self.outbox[number][:count]
        del self.outbox[number][:count]

    def hear(self, number: int, count: int) -> None:
        adapter = self.adapters[number]
        for client, link in self.log[adapter.received : adapter.received + count]:
            adapter.received += 1
            adapter.connections.on_link(client, link)

    def restart(self, number: int) -> None:
        """Kill an adapter; the new one receives the retained messages, then all later ones."""
        self.outbox[number].clear()
        for socket in self.sockets:
            if socket.adapter == number:
                socket.lost = True
        self.adapters[number] = adapter = self._started(number)
        for client, link in {client: (client, link) for client, link in self.log}.values():
            adapter.connections.on_link(client, link)

    def settle(self) -> None:
        """Deliver everything, and correct stale links, until no adapter has anything to publish."""
        for _ in range(50):
            for number in range(self.count):
                self.publish(number, len(self.outbox[number]))
            for number in range(self.count):
                self.hear(number, len(self.log))
            if not any(self.outbox):
                for adapter in self.adapters:
                    adapter.connections.correct_stale()
                if not any(self.outbox):
                    return
        raise AssertionError("they talk for ever")

    def newest(self, client: str) -> Socket | None:
        """The connection of a client that was published last in the broker's order; None where it has ended."""
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
        held = [adapter.connections.get(client) for adapter in self.adapters]
        return [each for each in held if each is not None]

    def last_word(self, client: str) -> ClientLink | None:
        return next((link for each, link in reversed(self.log) if each == client), None)
