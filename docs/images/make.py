"""Draw the pictures of the pages from a running system: `.venv/bin/python docs/images/make.py`.

Start it with `make up`, and let it run for a quarter of an hour: at the default time scale that is fifteen hours of the plant.
`heating.png` and `rooms.png` come from SQL, the others are what the commands draw. `architecture.svg` is drawn by hand.
"""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from matplotlib import dates
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

IMAGES = Path(__file__).parent
ROOM = "room-1"
ROOMS = {"room-1": "an ordinary room", "room-2": "a late answer: 18 minutes of dead time", "room-3": "aired twice a day"}
_HEATING = """
SELECT event_at, payload->>'temperature' AS temperature, payload->>'setpoint' AS setpoint, payload->>'level' AS level
FROM messages WHERE topic = $topic AND event_at IS NOT NULL ORDER BY number
"""


def scaup(*arguments: str) -> str:
    """Run `scaup` against the system of this environment and return its output."""
    command = [sys.executable, "-m", "adapters.cli.main", *arguments]
    return subprocess.run(command, cwd=IMAGES.parents[1], check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


def heating() -> None:
    """Draw temperature, setpoint and valve level of one room, from its recorded states."""
    states = _states(ROOM)
    at = [datetime.fromisoformat(each["event_at"]) for each in states]
    hours = (at[-1] - at[0]).total_seconds() / 3600
    figure = Figure(figsize=(9, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot(at, _numbers(states, "temperature"), color="#c0392b", label="room temperature")
    above.step(at, _numbers(states, "setpoint"), color="#1f6f8b", linestyle="--", where="post", label="setpoint")
    above.set(title=f"A simulated room over {hours:.0f} hours, as recorded", ylabel="°C")
    above.legend(loc="lower right", fontsize="small")
    below.fill_between(at, _numbers(states, "level"), step="post", color="#d9a400", alpha=0.8)
    below.set(ylabel="valve %", xlabel="plant time, UTC", ylim=(0, 105))
    below.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.savefig(IMAGES / "heating.png")


def rooms() -> None:
    """Draw the simulated rooms below each other."""
    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (room, kind) in zip(figure.subplots(len(ROOMS), 1, sharex=True, sharey=True), ROOMS.items(), strict=True):
        states = _states(room)
        at = [datetime.fromisoformat(each["event_at"]) for each in states]
        axes.plot(at, _numbers(states, "temperature"), color="#c0392b")
        axes.step(at, _numbers(states, "setpoint"), color="#1f6f8b", linestyle="--", where="post")
        axes.set(title=f"{room}: {kind}", ylabel="°C")
        axes.grid(alpha=0.3)
        valve = axes.twinx()
        valve.fill_between(at, _numbers(states, "level"), step="post", color="#d9a400", alpha=0.35, linewidth=0)
        valve.set(ylabel="valve %", ylim=(0, 300), yticks=(0, 50, 100))
    axes.set(xlabel="plant time, UTC")
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    figure.savefig(IMAGES / "rooms.png")


def _states(room: str) -> list[dict[str, Any]]:
    topic = f"topic=heating/{room}/state"
    found: list[dict[str, Any]] = json.loads(scaup("query", _HEATING, "-p", topic, "-o", "json", "--max-rows", "100000"))
    return found


def _numbers(states: list[dict[str, Any]], name: str) -> list[float]:
    return [float("nan") if each[name] is None else float(each[name]) for each in states]


if __name__ == "__main__":
    heating()
    rooms()
    scaup("machines", "analyze", "1", "--since", "10m", "--png", str(IMAGES / "machines.png"))
    scaup("energy", "show", "2", "--png", str(IMAGES / "energy.png"))
