"""What is known of a tool's results, over all of its connections: which were published, and which were recorded. Pure."""

from dataclasses import dataclass, field

from adapters.torque.open_protocol.results import Kind, ToolResult

MOST_KEYS = 2_000
"""Results that are recognised when they come again: more than are fetched for one gap."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the tool was set to last: the parameter set, and the torque that it was selected for, N·m."""

    set: int
    torque_nm: float


@dataclass(slots=True)
class Ledger:
    """The results of one tool. `last_id` is the tightening ID of the latest one, None until the first connection ever."""

    last_id: int | None = None
    last_at: str = ""
    mark: bytes | None = None
    """Correlation data of the command that the tool accepted last."""
    setting: Setting | None = None
    _recorded: dict[str, bool] = field(default_factory=dict)
    """Published results by their keys, oldest first, and whether they are known to be recorded."""

    def note(self, key: str, recorded: bool = False) -> None:
        """Note that a result was published, or that it is recorded."""
        self._recorded[key] = recorded
        while len(self._recorded) > MOST_KEYS:
            del self._recorded[next(iter(self._recorded))]

    def note_recorded(self, key: str) -> None:
        """Note that a published result is recorded."""
        if key in self._recorded:
            self._recorded[key] = True

    def advance(self, result: ToolResult) -> None:
        """Take a result as the latest. An operation with a lower ID is one too: the tool counts from 1 again."""
        if self.last_id is None or result.id > self.last_id or result.kind is not Kind.OTHER:
            self.last_id, self.last_at = result.id, result.at

    def is_published(self, key: str) -> bool:
        """Return whether a result was published."""
        return key in self._recorded

    def is_recorded(self, key: str) -> bool:
        """Return whether a result is known to be recorded."""
        return self._recorded.get(key, False)
