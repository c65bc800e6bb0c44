"""What chargers send, and what widgets read; written here a second time on purpose, independent of the adapter. Pure."""

from typing import Any

import orjson


def soc_frame(soc_pct: float | str) -> str:
    """Return the frame for a state of charge, %; a text makes a frame that no adapter may accept."""
    return orjson.dumps({"event": "StateOfCharge", "data": {"soc": soc_pct}}).decode()


def status_of(frame: str | bytes) -> str | None:
    """Return the status that a frame gives to a widget; None where it is no `chargingStatus`, which widgets do not know."""
    try:
        message: Any = orjson.loads(frame)
    except ValueError:
        return None
    match message:
        case {"event": "chargingStatus", "data": {"status": str(status)}}:
            return status
        case _:
            return None
