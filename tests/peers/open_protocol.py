"""Torque tools that others wrote, against a running recorder, controller and adapter. It is run by hand:

    python -m tests.peers.open_protocol emulator FOLDER    a whole job with dustywill/open-protocol-emulator (Python)
    python -m tests.peers.open_protocol simulator FOLDER   the communication with pydesai/open-protocol-simulator (Python)
    python -m tests.peers.open_protocol codec FOLDER       results written by node-open-protocol (Node.js), read by the adapter

FOLDER is a copy of that repository on GitHub. The emulator needs no window here: its toolkit is replaced. It lists no parameter
sets (0010), keeps no results (0064), counts from 1 at each connection, and its results have the fields of revision 1 in every
revision: so the address says `revision=1`, the sets and `loosening=assumed`. The simulator starts in revision 6 only, answers
others with error 98, and its lists, sets and results (0011, 0013, 0061, 0065) do not have the specified fields; the adapter has
to record and acknowledge such results. The codec knows the results of revisions 1 to 7. The simulator of Jarrekstar, in Rust,
was not built: its libraries could not be downloaded where this was written.
"""
# mypy: ignore-errors

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
import types
from contextlib import contextmanager
from pathlib import Path

from adapters.torque.open_protocol.frames import FrameReader
from adapters.torque.open_protocol.results import read_result
from broker.runtime.settings import ROOT
from tests import real_broker
from tests.real_broker import free_ports

SCAUP = (sys.executable, "-m", "adapters.cli.main")
SETS = {"001": 10.0, "002": 13.0, "003": 14.0}
"""The emulator's parameter sets, for the steps of RP-000123."""

_CODEC = """
const { MIDSerializer, OpenProtocalSerializer } = require(process.argv[1]);
const mids = new MIDSerializer(), frames = new OpenProtocalSerializer();
for (const each of [mids, frames]) each.on("error", (error) => { console.error(error.message); process.exitCode = 1; });
mids.on("data", (data) => frames.write(data));
frames.on("data", (data) => console.log(data.toString("hex")));
const texts = /name|number(VIN|Serial)|serial|VIN|Identifier|time|Name/i;
for (const each of JSON.parse(process.argv[2])) {
    const get = (kept, name) => name in kept ? kept[name] : texts.test(String(name)) ? "" : 0;
    const payload = new Proxy(each.payload, { get });
    mids.write({ mid: each.mid, revision: each.revision, payload });
}
"""


@contextmanager
def system(url: str):
    with tempfile.TemporaryDirectory() as made:
        broker = real_broker.create(Path(made))
        broker.start()
        environment = {**broker.environment, "SCAUP_TORQUE_DRIVER_URL": url}
        names = ("recorder", "fastening", "torque-adapter")
        started = [subprocess.Popen([*SCAUP, "run", each], env=environment, cwd=ROOT) for each in names]

        def scaup(*arguments: str, typed: str = "") -> subprocess.CompletedProcess:
            return subprocess.run([*SCAUP, *arguments], env=environment, cwd=ROOT, input=typed, text=True, capture_output=True)

        try:
            while scaup("status", *names).returncode:
                time.sleep(0.2)
            yield scaup
        finally:
            for each in started:
                each.terminate()
                each.wait(20)
            real_broker.remove(broker)


def show(scaup, seconds: float = 3.0) -> None:
    time.sleep(seconds)
    sql = "SELECT left(payload, 400) AS payload FROM messages WHERE starts_with(topic, 'torque/driver-1/') ORDER BY number"
    print(scaup("query", "-o", "jsonl", sql).stdout)


def emulator(folder: Path) -> None:
    for name in ("tkinter", "customtkinter"):
        sys.modules[name] = types.ModuleType(name)
    for name in ("messagebox", "filedialog"):
        setattr(sys.modules["tkinter"], name, None)
    sys.path.insert(0, str(folder))
    from open_protocol_emulator import OpenProtocolEmulator

    (port,) = free_ports(1)
    tool = OpenProtocolEmulator(host="127.0.0.1", port=port)
    tool.auto_loop_interval, tool.nok_probability = 100_000, 0.0
    for each, target in SETS.items():
        limits = {"target_torque": target, "torque_min": target - 0.1, "torque_max": target + 0.1}
        tool.pset_parameters[each] = {**limits, "target_angle": 90, "angle_min": 80, "angle_max": 100, "batch_size": 0}
    select, enable, chosen = tool.mid_handlers[18], tool.mid_handlers[43], []

    def selected(*arguments) -> None:
        select(*arguments)
        chosen.append(True)

    def enabled(*arguments) -> None:
        enable(*arguments)
        tool.nok_probability = float(tool.tightening_id_counter == 1)  # the second screw fails at first
        if chosen:
            chosen.clear()
            threading.Timer(0.05, tool.send_single_tightening_result).start()

    tool.mid_handlers[18], tool.mid_handlers[43] = selected, enabled
    threading.Thread(target=tool.start_server, daemon=True).start()
    sets = "+".join(f"{int(each)}:{target:g}" for each, target in SETS.items())
    with system(f"openprotocol://127.0.0.1:{port}?revision=1&loosening=assumed&sets={sets}") as scaup:
        time.sleep(1)
        done = scaup("torque", "run", typed="RP-000123\n")
        print(done.stdout, done.stderr, "exit code", done.returncode)
        show(scaup)


def simulator(folder: Path) -> None:
    sys.path.insert(0, str(folder / "backend"))
    from app.config import Settings
    from app.dispatcher import OpenProtocolDispatcher
    from app.mid_catalog import MidCatalog
    from app.persistence import PersistenceStore
    from app.profiles import ProfileStore
    from app.state import SimulatorState
    from app.tcp_server import TcpService

    classic, actor, viewer = free_ports(3)
    settings = Settings(host="127.0.0.1", classic_port=classic, actor_port=actor, viewer_port=viewer)
    catalog = MidCatalog.from_file(settings.data_dir / "mid_catalog.json")
    profiles = ProfileStore.from_directory(settings.data_dir / "profiles", active=settings.sim_profile)
    state = SimulatorState(
        catalog=catalog,
        profiles=profiles,
        persistence=PersistenceStore(enabled=False, db_path=settings.sim_db_path),
        keepalive_timeout_sec=settings.sim_keepalive_timeout_sec,
        inactivity_hint_sec=settings.sim_inactivity_keepalive_hint_sec,
        max_sessions=settings.sim_max_sessions,
    )

    async def serve() -> None:
        service = TcpService(
            settings, state, OpenProtocolDispatcher(settings=settings, catalog=catalog, profiles=profiles, state=state)
        )
        await service.start()
        while True:
            await asyncio.sleep(2)
            print(await service.publish_event("tightening", {"torque_nm": 10.0}))

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    with system(f"openprotocol://127.0.0.1:{classic}") as scaup:
        show(scaup, 15.0)
        acknowledged = asyncio.run(state.list_traffic(limit=500, mid="0062"))
        print("acknowledged:", len(acknowledged))


def codec(folder: Path) -> None:
    facts = {"parameterSetID": 2, "parameterSetNumber": 2, "tighteningStatus": 1}
    facts |= {"tighteningID": 77, "tighteningId": 77, "angle": 90, "timeStamp": "2026-12-01:10:00:00", "resultType": 2}
    facts |= {"torqueValuesUnit": 1, "numberVIN": "VIN1"}
    torques = {61: {"torque": 13.15, "torqueFinalTarget": 13}, 65: {"torque": 1315}}  # only 0061 has them in N·m there
    each_of = [(mid, revision) for mid in torques for revision in range(1, 8)]
    wanted = [{"mid": mid, "revision": revision, "payload": facts | torques[mid]} for mid, revision in each_of]
    command = ["node", "-e", _CODEC, str(folder / "index.js"), json.dumps(wanted)]
    written = subprocess.run(command, capture_output=True, text=True)
    print(written.stderr, end="")
    for line in written.stdout.split():
        reader = FrameReader()
        reader.feed(bytes.fromhex(line))
        frame = reader.next_frame()
        result = read_result(frame)
        print(
            frame.mid, frame.revision, result.key, result.kind.value, result.set, result.ok, result.torque_nm, result.target_nm
        )


if __name__ == "__main__":
    {"emulator": emulator, "simulator": simulator, "codec": codec}[sys.argv[1]](Path(sys.argv[2]).resolve())
