"""Limits on what unknown senders can cost: a token bucket, and with it the admission of names that a component has not seen."""

from broker.errors import Rejected

LONGEST_NAME = 64
"""Characters of a name that an error quotes."""


class TokenBucket:
    """Allows `burst` events at once, then `per_s` a second. Full at first; the time of `take` never goes back."""

    __slots__ = ("_burst", "_level", "_per_s", "_since_s")

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst, self._per_s, self._level = burst, per_s, burst
        self._since_s: float | None = None

    def take(self, now_s: float) -> bool:
        """Return whether one more event is allowed now, and count it if so."""
        if self._since_s is not None:
            self._level = min(self._burst, self._level + (now_s - self._since_s) * self._per_s)
        self._since_s = now_s
        if self._level < 1:
            return False
        self._level -= 1
        return True


class Admission:
    """Decides which new names a component keeps state for, so that a device that invents names cannot starve the others.

    Names that are known already are never asked about.

    Args:
        things: plural noun for the names, such as `rooms`.
        most: names that may be known.
        burst: new names that may come at once.
        per_s: new names a second after that, in wall time.
        time_scale: plant seconds per wall second.
    """

    def __init__(self, things: str, most: int, burst: int, per_s: float, time_scale: float = 1.0) -> None:
        self._things, self._most = things, most
        self._bucket = TokenBucket(burst, per_s / time_scale)
        self._too_many = f"there are {most} {things} already, which is the limit"
        self._too_fast = (
            f"too many new {things} at once: after {burst} at most {per_s:g} a second are taken; send it again later"
        )

    def check(self, name: str, known: int, now_s: float) -> None:
        """Admit a new name.

        Args:
            name: as its topic has it.
            known: number of names that are known.
            now_s: plant time, s.

        Raises:
            Rejected: there are too many names, or too many new ones came in a short time.
        """
        if known >= self._most:
            raise Rejected(f"{name[:LONGEST_NAME]!r} is new: {self._too_many}")
        if not self._bucket.take(now_s):
            raise Rejected(f"{name[:LONGEST_NAME]!r} is new: {self._too_fast}")
