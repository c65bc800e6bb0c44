"""What a component is: its name, what it subscribes and publishes, and the settings of its own."""

from dataclasses import dataclass, replace

from broker.stream import AnyStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable `SCAUP_…`, as `scaup config` lists it."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The one place that says what a component does on the bus.

    The access file, the credentials, both runtimes, `scaup run` and `scaup status` are made from it, so a component can publish
    nothing that is not named here. Each component's state and rejected messages are implied.

    `subscribes` and `publishes` are streams of `broker.contract`; `tick_s` is the time between two calls of `on_tick` in
    seconds of plant time, None for a component that only answers messages. `publishes_also` are filters of topics that it
    publishes to without being the one who says what they mean, `subscribes_also` those of streams that it hears a part of.
    `session_s` is for how many wall seconds the broker keeps what comes while the component is away; that is handed over
    after the retained messages. `listens` are those of the `variables` that hold a port of its own: `make up` looks whether
    it is free. `wall_tick_s` takes the place of `tick_s` where wall time counts, whatever the time scale. `keeps` is how many
    publications wait while the broker is away, before the oldest is dropped. Of a component with `processes` above 1, as many
    may run at once; see `numbered`.
    """

    name: str
    summary: str
    subscribes: tuple[AnyStream, ...] = ()
    publishes: tuple[AnyStream, ...] = ()
    publishes_also: tuple[str, ...] = ()
    subscribes_also: tuple[str, ...] = ()
    tick_s: float | None = None
    wall_tick_s: float | None = None
    keeps: int = 10_000
    processes: int = 1
    session_s: int = 0
    variables: tuple[Variable, ...] = ()
    listens: tuple[Variable, ...] = ()
    account: str = ""
    """Whose login it uses; empty: that of its own name."""

    def numbered(self, number: int) -> "Declaration":
        """Return the declaration of one of several processes, from 1 to `processes`: `name`, `name-2`, `name-3`."""
        return self if number == 1 else replace(self, name=f"{self.name}-{number}", account=self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all processes that may run at once."""
        return tuple(self.numbered(number).name for number in range(1, self.processes + 1))
