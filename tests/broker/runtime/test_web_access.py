"""Which requests of browsers are admitted, by `Host` and `Origin`."""

import pytest

from broker.errors import InvalidSetting
from broker.runtime.settings import LOOPBACK, Settings
from broker.runtime.web_access import WebAccess

HERE = WebAccess(LOOPBACK, frozenset({"box", "box.local"}), ("https://plant.example",))
LAN = WebAccess(("192.0.2.7", *LOOPBACK))
ANY = WebAccess(("0.0.0.0",))


@pytest.mark.parametrize(
    ("access", "host", "admitted"),
    [
        (HERE, "localhost:5000", True),
        (HERE, "LOCALHOST", True),
        (HERE, "localhost.:5000", True),
        (HERE, "127.0.0.1:5000", True),
        (HERE, "127.8.8.8", True),
        (HERE, "[::1]:5000", True),
        (HERE, "box.local:5000", True),
        (HERE, "Box", True),
        (HERE, "evil.example:5000", False),
        (HERE, "localhost.evil.example", False),
        (HERE, "127.0.0.1.evil.example", False),
        (HERE, "plant.example", False),
        (HERE, "192.0.2.7:5000", False),
        (HERE, "", False),
        (HERE, "localhost:x", False),
        (HERE, "evil.example@localhost", False),
        (HERE, "localhost, evil.example", False),
        (LAN, "192.0.2.7:5000", True),
        (LAN, "192.0.2.8:5000", False),
        (ANY, "192.0.2.8:5000", True),
        (ANY, "evil.example", False),
    ],
)
def test_host_is_a_name_of_this_machine(access: WebAccess, host: str, admitted: bool) -> None:
    refusal = access.refuse_host([host])
    assert (refusal is None) is admitted
    assert admitted or "SCAUP_HOST_NAMES" in str(refusal)


def test_request_without_a_host_is_admitted() -> None:
    assert HERE.refuse_host([]) is None


def test_every_host_of_a_request_counts() -> None:
    assert HERE.refuse_host(["localhost", "evil.example"]) is not None


@pytest.mark.parametrize(
    ("origin", "host", "admitted"),
    [
        ("http://localhost:3100", "localhost:3100", True),
        ("https://box:3100", "Box:3100", True),
        ("https://plant.example", "localhost:3100", True),
        ("https://evil.example", "localhost:3100", False),
        ("http://localhost:8080", "localhost:3100", False),
        ("http://evil.example:3100", "evil.example:3100", False),
        ("http://plant.example", "localhost:3100", False),
        ("https://plant.example.evil.example", "localhost:3100", False),
        ("null", "localhost:3100", False),
        ("file://", "localhost:3100", False),
    ],
)
def test_origin_is_own_or_listed(origin: str, host: str, admitted: bool) -> None:
    refusal = HERE.refuse_origin([origin], [host])
    assert (refusal is None) is admitted
    assert admitted or "SCAUP_CORS_ORIGINS" in str(refusal)


def test_program_without_origin_is_admitted_under_any_host() -> None:
    assert HERE.refuse_origin([], ["charging.example"]) is None


def test_names_come_from_the_machine_and_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Box.plant.example")
    settings = Settings.load({"SCAUP_HOST_NAMES": "Scaup.example, other", "SCAUP_CORS_ORIGINS": "HTTPS://App.example:443/"})
    access = WebAccess.load(settings, LOOPBACK)
    assert access.names == {"box.plant.example", "box", "box.local", "scaup.example", "other"}
    assert access.origins == ("https://app.example",)


@pytest.mark.parametrize("text", ["*", "plant.example", "https://a.example/path", "https://u@a.example", "ws://a", "null"])
def test_unusable_origin_is_an_error(text: str) -> None:
    with pytest.raises(InvalidSetting, match="SCAUP_CORS_ORIGINS"):
        Settings.load({"SCAUP_CORS_ORIGINS": text})
