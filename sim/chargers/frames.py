"""Frames of chargers and widgets, and faults in them. Pure.

They are written here a second time on purpose, independent of the adapter.
"""

import enum
import random
from collections.abc import Mapping
from typing import Any

import orjson


class Fault(enum.StrEnum):
    """A fault of one frame."""

    GARBAGE = "garbage"
    """A frame that is not JSON comes first."""
    TEXT = "text"
    """A frame with the state of charge as a text comes first."""
    FALLING = "falling"
    """A state of charge that is much too low comes first."""
    DISCONNECT = "disconnect"
    """The connection is closed instead."""


def soc_frame(soc_pct: float | str) -> str:
    """Return the frame for a state of charge, %; a text makes a frame that no adapter may accept."""
    return orjson.dumps({"event": "StateOfCharge", "data": {"soc": soc_pct}}).decode()


def soc_frames(soc: int, shares: Mapping[Fault, float], rng: random.Random) -> list[str | None]:
    """Return the frames to send for a state of charge, %; None closes the connection.

    `shares` gives the share of frames, 0..1, that have each fault. A number is drawn for each fault whatever its share, so
    that changing one share leaves the other faults where they were.
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


def status_of(frame: str | bytes) -> str | None:
    """Return the status in a frame for a widget; None where it is no `chargingStatus`."""
    try:
        message: Any = orjson.loads(frame)
    except ValueError:
        return None
    match message:
        case {"event": "chargingStatus", "data": {"status": str(status)}}:
            return status
        case _:
            return None
