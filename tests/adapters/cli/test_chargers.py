"""scaup chargers: present connections, and recorded sessions."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.systems.charging.live import natural
from broker.message import Message, Publication
from controllers.charging.component import ChargingController
from controllers.charging.files import PairsFile
from tests.adapters.cli.conftest import Scaup
from tests.adapters.cli.recording import Recording
from tests.adapters.client.fakes import FakeBus, FakeSession

ONLINE = '{"state":"online","boot":"b","version":"1"}'
OFFLINE = ONLINE.replace("online", "offline")
RUNNING = {"session": "s1", "started_at": "2026-01-31T08:00:00Z", "soc_start": 12.5, "soc_highest": 70}
SINCE = ("--since", "2026-01-01")


def link(connected: bool = True, adapter: str = "charger-adapter") -> str:
    return json.dumps({"connected": connected, "adapter": adapter, "connection": "b-1", "address": "10.0.0.7"})


def state(widget: str = "w1", **known: Any) -> str:
    return json.dumps({"state": "online", "widget": widget, "soc": None, "soc_at": None, **known})


@pytest.fixture
def booth() -> FakeBus:
    """A bus with chargers c10, c2 and c1, of which c10 is connected and c1 was never; and both components online."""
    bus = FakeBus()
    for name in ("charging", "charger-adapter"):
        bus.retain(f"components/{name}/state", ONLINE)
    bus.retain("charging/pairs", '{"pairs":{"c10":"w10","c2":"w2","c1":"w1"}}')
    known = {"soc": 70, "soc_at": "2026-01-31T08:10:00Z", "status": "charging", "session": RUNNING}
    bus.retain("chargers/c10/state", state("w10", **known))
    bus.retain("chargers/c10/link", link())
    bus.retain("widgets/w10/link", link())
    bus.retain("chargers/c2/state", state("w2", state="offline"))
    bus.retain("chargers/c2/link", link(connected=False))
    return bus


class PairingBus(FakeBus):
    """A bus with a charging controller on it, which keeps its pairs in a file."""

    def publish(self, publication: Publication, expiry_s: int | None = None) -> bool:
        super().publish(publication, expiry_s)
        message = Message(
            topic=publication.topic,
            payload=publication.payload,
            response_topic=publication.response_topic,
            correlation_data=publication.correlation_data,
        )
        for each in self.controller.on_message(message, 0.0):
            self.deliver(each.topic, each.payload, each.correlation_data)
        return True

    def start(self, path: Path) -> None:
        file = PairsFile(str(path))
        self.controller = ChargingController(file.read(), file, lambda _: datetime(2026, 1, 31, tzinfo=UTC))


@pytest.fixture
def pairing(tmp_path: Path) -> PairingBus:
    bus = PairingBus()
    bus.retain("components/charging/state", ONLINE)
    (tmp_path / "pairs.json").write_text('{"c1":"w1","c2":"w2"}')
    bus.start(tmp_path / "pairs.json")
    return bus


def test_pair_and_unpair_are_kept_in_the_file(scaup: Scaup, pairing: PairingBus, tmp_path: Path) -> None:
    assert listed(scaup, pairing, "unpair", "c1") == [{"charger": "c1", "widget": "w1", "status": "unpaired"}]
    assert listed(scaup, pairing, "pair", "c3", "w1") == [{"charger": "c3", "widget": "w1", "status": "paired"}]
    assert listed(scaup, pairing, "pair", "c3", "w1")[0]["status"] == "already paired"
    assert json.loads((tmp_path / "pairs.json").read_text()) == {"c2": "w2", "c3": "w1"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["pair", "c1", "w3"], 1, "charger c1 has widget w1: unpair c1 first"),
        (["pair", "c3", "w2"], 1, "widget w2 belongs to charger c2: unpair c2 first"),
        (["pair", "c3", "w/2"], 1, "must not contain /"),
        (["unpair", "c9"], 1, "charger c9 is in no pair"),
        (["pair", "c/1", "w1"], 2, "cannot be a charger"),
        (["pair", "c1"], 2, "Missing argument 'WIDGET'"),
    ],
)
def test_refused_pair_names_the_reason(
    scaup: Scaup, pairing: PairingBus, tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    result = scaup("chargers", *arguments, session=FakeSession(pairing))
    assert (result.exit_code, text in result.stderr) == (code, True), result.stderr
    assert (tmp_path / "pairs.json").read_text() == '{"c1":"w1","c2":"w2"}'


def test_pair_needs_the_controller_and_an_operator(scaup: Scaup, pairing: PairingBus) -> None:
    pairing.refuse = True
    assert scaup("chargers", "unpair", "c1", session=FakeSession(pairing)).exit_code == 4
    pairing.retain("components/charging/state", OFFLINE)
    result = scaup("chargers", "unpair", "c1", session=FakeSession(pairing))
    assert (result.exit_code, "is not online" in result.stderr) == (3, True)


def listed(scaup: Scaup, bus: FakeBus, *arguments: str) -> list[dict[str, Any]]:
    result = scaup("chargers", *arguments, session=FakeSession(bus))
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def seen(scaup: Scaup, bus: FakeBus, *arguments: str) -> dict[str, tuple[str, str]]:
    return {each["charger"]: (each["state"], each["widget_state"]) for each in listed(scaup, bus, *arguments)}


def test_the_row_of_a_charger(scaup: Scaup, booth: FakeBus) -> None:
    assert listed(scaup, booth)[-1] == {
        "charger": "c10",
        "state": "online",
        "soc": 70.0,
        "status": "charging",
        "widget": "w10",
        "widget_state": "online",
        "session": "s1",
        "started_at": "2026-01-31T08:00:00Z",
        "soc_start": 12.5,
        "soc_at": "2026-01-31T08:10:00Z",
    }


def test_chargers_never_connected_are_listed_with_all(scaup: Scaup, booth: FakeBus) -> None:
    result = scaup("chargers", session=FakeSession(booth))
    assert "1 more in the pairs were never connected: --all lists them too" in result.stderr
    assert seen(scaup, booth) == {"c2": ("offline", "never seen"), "c10": ("online", "online")}
    every = scaup("chargers", "--all", session=FakeSession(booth))
    assert every.stderr == ""
    assert seen(scaup, booth, "--all") == {"c1": ("never seen", "never seen"), **seen(scaup, booth)}
    assert list(seen(scaup, booth, "--all")) == ["c1", "c2", "c10"]


def test_only_connected_chargers(scaup: Scaup, booth: FakeBus) -> None:
    assert list(seen(scaup, booth, "--online")) == ["c10"]
    assert list(seen(scaup, booth, "--online", "--all")) == ["c10"]


@pytest.mark.parametrize("state", [OFFLINE, "garbage", None])
def test_a_link_counts_only_while_its_adapter_is_online(scaup: Scaup, booth: FakeBus, state: str | None) -> None:
    """A killed adapter cannot publish that its connections are closed; those of others are not affected."""
    booth.retain("components/charger-adapter-2/state", ONLINE)
    booth.retain("chargers/c2/link", link(adapter="charger-adapter-2"))
    del booth.kept["components/charger-adapter/state"]
    if state is not None:
        booth.retain("components/charger-adapter/state", state)
    assert seen(scaup, booth) == {"c2": ("online", "never seen"), "c10": ("offline", "offline")}


def test_a_charger_removed_from_the_pairs_keeps_its_widget(scaup: Scaup, booth: FakeBus) -> None:
    booth.retain("charging/pairs", '{"pairs":{}}')
    found = {each["charger"]: each["widget"] for each in listed(scaup, booth)}
    assert found == {"c2": "w2", "c10": "w10"}


def test_state_falls_back_from_link_to_controller(scaup: Scaup, booth: FakeBus) -> None:
    booth.retain("chargers/c7/state", state("w7"))
    booth.retain("chargers/c8/link", link())
    found = {each["charger"]: each for each in listed(scaup, booth)}
    assert (found["c7"]["state"], found["c7"]["widget"]) == ("online", "w7")
    assert (found["c8"]["state"], found["c8"]["widget"], found["c8"]["soc"]) == ("online", None, None)


def test_undecodable_retained_messages_are_left_out(scaup: Scaup, booth: FakeBus) -> None:
    for topic in ("chargers/c3/state", "chargers/c3/link", "widgets/w10/link", "charging/pairs"):
        booth.retain(topic, '{"pairs":[]}')
    assert seen(scaup, booth) == {"c2": ("offline", "never seen"), "c10": ("online", "never seen")}


def test_a_table_is_for_people(scaup: Scaup, booth: FakeBus) -> None:
    text = scaup("chargers", "-o", "table", session=FakeSession(booth)).stdout
    heading, _, first, second = text.splitlines()
    assert heading.split("  ")[0] == "charger"
    assert "soc %" in heading
    assert first.split()[:2] == ["c2", "offline"]
    assert "01-31 08:00" in second
    assert max(map(len, text.splitlines())) <= 80
    assert scaup("chargers", "-o", "csv", session=FakeSession(booth)).stdout.startswith("charger,state,soc,status,widget,")


def test_one_charger(scaup: Scaup, booth: FakeBus) -> None:
    booth.retain("chargers/c1/soc", "{}")
    assert list(seen(scaup, booth, "--charger", "c10")) == ["c10"]
    assert seen(scaup, booth, "--charger", "c1") == {"c1": ("never seen", "never seen")}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--charger", "c3"], "there is no charger c3"),
        (["--charger", "c2", "--online"], "charger c2 is not online"),
    ],
)
def test_the_answer_no(scaup: Scaup, booth: FakeBus, arguments: list[str], text: str) -> None:
    result = scaup("chargers", *arguments, session=FakeSession(booth))
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr
    assert "Fix: " in result.stderr


def test_none_is_online(scaup: Scaup, booth: FakeBus) -> None:
    booth.retain("chargers/c10/link", link(connected=False))
    result = scaup("chargers", "--online", session=FakeSession(booth))
    assert (result.exit_code, "no charger is online" in result.stderr) == (1, True)


def test_pairs_without_any_charger(scaup: Scaup) -> None:
    bus = FakeBus()
    bus.retain("charging/pairs", '{"pairs":{"c1":"w1","c2":"w2"}}')
    result = scaup("chargers", session=FakeSession(bus))
    assert (result.exit_code, "none of the 2 chargers in the pairs was ever connected" in result.stderr) == (1, True)
    assert list(seen(scaup, bus, "--all")) == ["c1", "c2"]


def test_charging_never_ran(scaup: Scaup) -> None:
    result = scaup("chargers", session=FakeSession(FakeBus()))
    assert (result.exit_code, "see scaup status charging" in result.stderr) == (1, True)


def test_an_offline_controller_is_reported(scaup: Scaup, booth: FakeBus) -> None:
    assert "charging is not online" not in scaup("chargers", session=FakeSession(booth)).stderr
    booth.retain("components/charging/state", OFFLINE)
    assert "charging is not online" in scaup("chargers", session=FakeSession(booth)).stderr


def test_without_a_broker(scaup: Scaup) -> None:
    result = scaup("chargers", session=FakeSession())
    assert (result.exit_code, "Fix: start it with `make up`" in result.stderr) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [["--charger", ""], ["--charger", "a/b"], ["--charger", "+"], ["c1"], ["--all", "sessions"], ["-o", "csv", "sessions"]],
)
def test_wrong_usage(scaup: Scaup, booth: FakeBus, arguments: list[str]) -> None:
    assert scaup("chargers", *arguments, session=FakeSession(booth)).exit_code == 2


def test_100_000_pairs(scaup: Scaup, booth: FakeBus) -> None:
    booth.retain("charging/pairs", json.dumps({"pairs": {f"c{n}": f"w{n}" for n in range(100_000)}}))
    result = scaup("chargers", "--all", "-o", "table", session=FakeSession(booth))
    assert [line.split()[0] for line in result.stdout.splitlines()[2:7]] == ["c0", "c1", "c2", "c3", "c4"]
    assert len(result.stdout.splitlines()) == 100_002


def test_names_are_in_natural_order() -> None:
    long = "c" + "9" * 5_000
    wanted = ["1", "c", "c0", "c01", "c1", "c1a", "c2", "c2x3", "c2x12", "c10", long, "c²", "d1"]
    assert sorted(set(wanted), key=natural) == wanted


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    made = Recording(tmp_path)
    yield made
    made.database.close()


def tell(recording: Recording, session: str, charger: str, minute: int, **more: Any) -> None:
    begun = {"session": session, "widget": "w1", "started_at": f"2026-01-31T08:{minute:02}:00Z", "soc_start": 10}
    recording.record(f"chargers/{charger}/session", json.dumps({**begun, **more}))


@pytest.fixture
def charged(recording: Recording) -> Recording:
    """Session a of c1 has ended; b of c2 and c of c1 are running."""
    tell(recording, "c", "c1", 40)
    tell(recording, "a", "c1", 0)
    tell(recording, "b", "c2", 10)
    tell(recording, "a", "c1", 0, ended_at="2026-01-31T08:20:00Z", soc_end=100, duration_s=1210.5, ended_by="charged")
    return recording


def test_sessions_are_listed_newest_last(scaup: Scaup, charged: Recording) -> None:
    rows = [json.loads(line) for line in scaup("chargers", "sessions", *SINCE, session=charged.online()).stdout.splitlines()]
    assert [(each["session"], each["charger"], each["ended_by"]) for each in rows] == [
        ("a", "c1", "charged"),
        ("b", "c2", None),
        ("c", "c1", None),
    ]
    assert rows[0] == {
        "session": "a",
        "charger": "c1",
        "widget": "w1",
        "started_at": "2026-01-31T08:00:00Z",
        "ended_at": "2026-01-31T08:20:00Z",
        "soc_start": 10.0,
        "soc_end": 100.0,
        "duration_s": 1210.5,
        "ended_by": "charged",
        "connector": None,
        "kwh": None,
    }


def test_sessions_from_the_file_where_no_recorder_runs(scaup: Scaup, charged: Recording) -> None:
    with charged.closed() as session:
        result = scaup("chargers", "sessions", *SINCE, "--charger", "c1", "-o", "table", session=session)
    assert result.exit_code == 0, result.stderr
    _, _, ended, running = result.stdout.splitlines()
    assert ended.split()[-3:] == ["100", "20.2", "charged"]
    assert running.split() == ["c1", "w1", "01-31", "08:40", "10"]


@pytest.mark.parametrize(("since", "found"), [("2026-01-20", ["history-c1@x"]), ("2026-01-26", [])])
def test_simulated_sessions_are_selected_by_their_end(scaup: Scaup, recording: Recording, since: str, found: list[str]) -> None:
    """They are received at once: by wall time, a whole week of them would be of the last minute."""
    past = {"started_at": "2026-01-25T08:00:00Z", "ended_at": "2026-01-25T09:00:00Z", "soc_end": 100, "ended_by": "charged"}
    tell(recording, "history-c1@x", "c1", 0, **past)
    listed = scaup("chargers", "sessions", "--since", since, "-o", "jsonl", session=recording.online()).stdout
    assert [json.loads(line)["session"] for line in listed.splitlines()] == found


def test_the_period_is_of_wall_time(scaup: Scaup, charged: Recording) -> None:
    """Session a was published for the second time at 08:00:04, and nothing after it."""
    found = scaup("chargers", "sessions", "--since", "2026-01-31T08:00:04Z", session=charged.online()).stdout
    assert [json.loads(line)["session"] for line in found.splitlines()] == ["a"]


@pytest.mark.parametrize("arguments", [["--since", "1h"], [*SINCE, "--charger", "c9"]])
def test_no_session_ends_with_1(scaup: Scaup, charged: Recording, arguments: list[str]) -> None:
    result = scaup("chargers", "sessions", *arguments, session=charged.online())
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--since" in result.stderr


def test_a_quoted_charger_is_only_text(scaup: Scaup, charged: Recording) -> None:
    result = scaup("chargers", "sessions", *SINCE, "--charger", "c1' OR 'a'='a", session=charged.online())
    assert result.exit_code == 1
