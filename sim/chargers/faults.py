"""What can go wrong when a charger sends. Pure."""

import enum
import random
from collections.abc import Mapping

from sim.chargers.wire import soc_frame


class Fault(enum.StrEnum):
    """What can go wrong with one frame."""

    GARBAGE = "garbage"
    """A frame that is not JSON comes first."""
    TEXT = "text"
    """The state of charge comes as a text first."""
    FALLING = "falling"
    """A state of charge that is much too low comes first."""
    DISCONNECT = "disconnect"
    """The connection is closed instead."""


def frames(soc: int, shares: Mapping[Fault, float], rng: random.Random) -> list[str | None]:
    """Return what is sent for a state of charge, %, with the faults of their shares, 0..1; None is for closing the connection.

    Each fault is drawn whatever its share, so that shares do not change the rest.
    """
    draws = {each: rng.random() for each in Fault}
    cut, fallen = rng.random(), rng.random()
    drawn = {each for each, draw in draws.items() if draw < shares.get(each, 0.0)}
    frame, sent = soc_frame(soc), list[str | None]()
    if Fault.GARBAGE in drawn:
        sent.append(frame[: 1 + int(cut * (len(frame) - 1))])
    if Fault.TEXT in drawn:
        sent.append(soc_frame(str(soc)))
    if Fault.FALLING in drawn:
        sent.append(soc_frame(int(soc * 0.5 * fallen)))
    return [*sent, None if Fault.DISCONNECT in drawn else frame]
