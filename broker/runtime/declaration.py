"""Declaration of a component: its name, what it subscribes to and publishes, and its own settings."""

from dataclasses import dataclass, replace

from broker.contract.roles import Role
from broker.stream import AnyStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable `SCAUP_…`, as `scaup config` lists it."""

    name: str
    default: str
    meaning: str
    container: str = ""
    """Its value in a container, where `${…}` stands for variables of the host; empty: its value on the host."""
    shipped: str = ""
    """Of a variable that holds a path: the file or folder of this repository that is used if it is empty. A container has the
    path of the host mounted at `mount`."""
    mount: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Something that a person or a device can open; `make up` lists it."""

    template: str
    """The address, with `{host}` and with a `listens` variable in braces for its port: `http://{host}:{SCAUP_PORT}/docs`."""
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The single source for what a component does on the bus.

    The access file, the credentials, both runtimes, `scaup run` and `scaup status` are generated from it, so a component can
    publish only to topics that are named here. The component's state, warning and rejected messages are implied.
    """

    name: str
    summary: str
    subscribes: tuple[AnyStream, ...] = ()
    """Streams of `broker.contract`."""
    publishes: tuple[AnyStream, ...] = ()
    publishes_also: tuple[str, ...] = ()
    """Topic filters of streams that belong to other components, but may be published to by this one."""
    subscribes_also: tuple[str, ...] = ()
    """Topic filters that select a part of a stream."""
    reads: tuple[str, ...] = ()
    """Topic filters that it may read beside those that it subscribes to by this declaration."""
    role: Role | None = None
    """The role of the users that act through it: it may read what the role may, and publish what it declares."""
    tick_s: float | None = None
    """Plant seconds between two calls of `on_tick`; None for a component that only reacts to messages."""
    wall_tick_s: float | None = None
    """Wall seconds between two calls of `on_tick`, in place of `tick_s`."""
    max_queued: int = 10_000
    """Publications that may wait while the broker is unreachable; for one more, the oldest is dropped."""
    receive_maximum: int = 1_000
    """Deliveries that may be unacknowledged. What exceeds it after a reconnect is queued in the broker, and Mosquitto 2.0 then
    delivers some new messages before older ones."""
    processes: int = 1
    """Processes that may run at once; see `numbered`."""
    session_s: int = 0
    """Wall seconds for which the broker queues messages while the component is disconnected; they are handed over after the
    retained ones."""
    takes_history: bool = False
    """It also takes simulated history (`broker.stamp.HISTORY`); for any other component nothing new has happened."""
    variables: tuple[Variable, ...] = ()
    listens: tuple[Variable, ...] = ()
    """Those of the `variables` that hold a port to listen on: `make up` checks that it is free."""
    publishes_ports: bool = True
    """In containers, the ports that it `listens` on can be reached from the host, and not only by other components."""
    addresses: tuple[Address, ...] = ()
    """Those on the ports that it `listens` on, for people and devices."""
    is_plant: bool = False
    """It stands for the physical world: what it publishes has no cause on the bus, or every chain of causes would go round the
    loop of controller and plant for ever."""
    starts_where: Variable | None = None
    """`make up` starts it where this has a value, or where SCAUP_COMPONENTS names it; None: always."""
    starts_with: str = ""
    """File of the data directory: where it is there and `starts_where` has no value, `make up` starts it too."""
    account: str = ""
    """Account it logs in with; empty: the one with its name."""

    def numbered(self, number: int) -> "Declaration":
        """Return the declaration of one of several processes, from 1 to `processes`: `name`, `name-2`, `name-3`."""
        return self if number == 1 else replace(self, name=f"{self.name}-{number}", account=self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all processes that may run at once."""
        return tuple(self.numbered(number).name for number in range(1, self.processes + 1))
