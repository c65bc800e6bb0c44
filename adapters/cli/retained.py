"""Retained messages of a restored recording: put into the store of a broker that starts later.

The recording has every retained message. A separate broker, which only this process can reach, takes them and saves its store
when it is stopped. Sessions are not restored: the broker that had them delivers nothing twice that way, and the recorder begins
a new session.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from os import getuid
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adapters.launcher.compose import NEIGHBOUR
from broker.launch import mosquitto
from broker.stamp import rfc3339
from storage.errors import BackupFailed
from storage.files import sync_file
from storage.query.sandbox import open_read_only

STORE = Path("broker", "mosquitto.db")
_START_S = 10.0
_WINDOW = 1_000
_PUBLISHED_AT_START = ("components/", "storage/", "rejected/", "replay/")
"""Topics of what runs: their components publish them when they start, and an old state would be wrong until then."""
_RETAINED = """
SELECT topic, last.payload, last.event_at, last.qos FROM (
    SELECT topic, max({place}) AS place,
        arg_max({{'payload': coalesce(payload_raw, encode(payload)), 'event_at': event_at, 'qos': qos}}, {place}) AS last
    FROM messages WHERE retain GROUP BY topic)
WHERE octet_length(last.payload) > 0 AND NOT ends_with(topic, '/link') ORDER BY place
"""

Retained = tuple[str, bytes, datetime | None, int]


def restore_retained(database: Path) -> int | None:
    """Write the store of a broker beside a restored database; return the number of messages, None if there is no Mosquitto.

    Raises:
        BackupFailed: the broker does not start, or does not take them.
    """
    messages = _read(database)
    neighbour = os.environ.get(NEIGHBOUR)
    if messages and neighbour is None and mosquitto.find() is None:
        return None
    if messages:
        store = database.parent / STORE
        store.parent.mkdir(mode=0o700, exist_ok=True)
        if neighbour is not None:
            _store_next_door(messages, store, Path(neighbour))
        else:
            _store(messages, store)
        sync_file(store)
    return len(messages)


def _read(database: Path) -> list[Retained]:
    connection = open_read_only(database)
    try:
        columns = {name for (name, *_) in connection.execute("DESCRIBE messages").fetchall()}
        place = "number" if "number" in columns else "received_at"
        rows = connection.execute(_RETAINED.format(place=place)).fetchall()
    finally:
        connection.close()
    return [row for row in rows if not row[0].startswith(_PUBLISHED_AT_START)]


def _store(messages: Iterable[Retained], store: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="scaup-") as folder:
        socket = Path(folder, "socket")
        configuration = Path(folder, "mosquitto.conf")
        configuration.write_text(_configuration(socket, store))
        broker = subprocess.Popen(  # noqa: S603 - the command is made here
            [mosquitto.require(), "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            _publish(messages, socket, lambda: broker.poll() is not None)
        except (OSError, RuntimeError, ValueError) as error:
            raise BackupFailed(f"the retained messages cannot be restored: {error}") from error
        finally:
            broker.terminate()
            _, log = broker.communicate(timeout=_START_S)
    if not store.is_file():
        raise BackupFailed(f"the broker did not save the retained messages: {log.strip()[-500:]}")


def _store_next_door(messages: Iterable[Retained], store: Path, configuration: Path) -> None:
    """Use the broker of another container with the same volume: it runs while its configuration is there."""
    socket = configuration.with_suffix(".socket")
    unfinished = configuration.with_suffix(".new")
    unfinished.write_text(_configuration(socket, store))
    unfinished.rename(configuration)
    try:
        _publish(messages, socket, lambda: False)
    except (OSError, RuntimeError, ValueError) as error:
        raise BackupFailed(f"the retained messages cannot be restored: {error}") from error
    finally:
        configuration.unlink()
    if not _wait_until(store.is_file):
        raise BackupFailed("the broker did not save the retained messages")
    socket.unlink(missing_ok=True)


def _configuration(socket: Path, store: Path) -> str:
    return (
        f"listener 0 {socket}\nallow_anonymous true\npersistence true\npersistence_location {store.parent}/\n"
        f"persistence_file {store.name}\nmax_queued_messages 0\nlog_dest stderr\n" + "user root\n" * (getuid() == 0)
    )


def _wait_until(reached: Callable[[], bool]) -> bool:
    """Wait until a condition holds, and return whether it does in time."""
    deadline_s = time.monotonic() + _START_S
    while not reached() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return reached()


def _publish(messages: Iterable[Retained], socket: Path, ended: Callable[[], bool]) -> None:
    _wait_until(lambda: socket.exists() or ended())
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport="unix")
    client.connect(str(socket))
    client.loop_start()
    sent = []
    for topic, payload, event_at, _qos in messages:
        sent.append(client.publish(topic, bytes(payload), qos=1, retain=True, properties=_properties(event_at)))
        if len(sent) == _WINDOW:
            _wait(sent)
    _wait(sent)
    client.disconnect()
    client.loop_stop()


def _wait(sent: list[paho.MQTTMessageInfo]) -> None:
    for each in sent:
        each.wait_for_publish(_START_S)
        if not each.is_published():
            raise RuntimeError("the broker does not take them")
    sent.clear()


def _properties(event_at: datetime | None) -> Properties | None:
    """Return the plant time. The publisher's numbers are left out: the recorder would take the message for a repeated one."""
    if event_at is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("plant-time", rfc3339(event_at))]
    return properties
