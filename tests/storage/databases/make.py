"""Makes the sample database of the current schema, before a new migration is released.

`python -m tests.storage.databases.make`, with the code of that release and not later. The file of schema 1 was made with commit
8a8348a.
"""

import gzip
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from broker.mqtt.packets import Delivery
from storage.database.batch import TimedDelivery, arrow_table
from storage.database.database import Database
from storage.schema.typed_streams import StreamCodes

FOLDER = Path(__file__).parent
START_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000


def property_of(name: bytes, value: bytes) -> bytes:
    """Encode a user property (MQTT 5 section 3.3.2.3.7)."""
    return b"\x26" + len(name).to_bytes(2) + name + len(value).to_bytes(2) + value


STAMP = b"".join(
    property_of(*each)
    for each in ((b"source", b"sensors"), (b"boot", b"b1"), (b"seq", b"7"), (b"plant-time", b"2026-01-31T08:00:00Z"))
)
READING = b'{"sensorID":"s-1","type":"temperature","value":21.5}'
MESSAGES = (
    ("/readings/room-1/temperature", READING, STAMP),
    ("/readings/room-2/temperature", b'{"sensorID":"s-2","type":"temperature","value":-3}', b""),
    ("/readings/room-1/temperature", b"garbage", b""),
    ("/readings/room-1/temperature", b"\xff\xfe\x00", b""),
    ("/actuators/room-1", b'{"level":14}', b""),
    ("/actuators/room-1", b'{"level":101}', b""),
    ("components/heating/state", b'{"state":"online","boot":"b","version":"1"}', b""),
    ("rejected/heating", b'{"topic":"t","reason":"not JSON","payload":"x","at":"2026-01-31T08:00:00Z","size":1}', b""),
    ("other", b"", b""),
    ("other", "größe \x00".encode(), b""),
    ("storage/stats", b'{"received":1}', b""),
)
SESSIONS = 2


def arrived(number: int) -> int:
    """Return the arrival time of a message; the clock was put back by an hour before the second session."""
    return START_US + number - (number - 1) // len(MESSAGES) * HOUR_US


def fill(database: Database) -> None:
    """Record every message once in each session."""
    for session in range(1, SESSIONS + 1):
        database.begin_session()
        first = (session - 1) * len(MESSAGES) + 1
        batch = [
            TimedDelivery(arrived(number), Delivery(topic, payload, 1, False, False, number, properties))
            for number, (topic, payload, properties) in enumerate(MESSAGES, first)
        ]
        database.commit(arrow_table(batch, session, StreamCodes()))


def main(folder: Path) -> None:
    """Write the file of this code's schema."""
    number = max(
        int(entry.name[:4])
        for entry in files("storage.database").joinpath("migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    target = folder / f"{number:04}.duckdb.gz"
    with tempfile.TemporaryDirectory() as temporary:
        database = Database(Path(temporary) / "made.duckdb", 256, 1)
        fill(database)
        database.close()
        target.write_bytes(gzip.compress(database.path.read_bytes(), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
