"""What the tests of listeners beyond this machine share: accounts, a certificate, and 127.0.0.1 as an outside address."""

import base64
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.listening import Outside
from adapters.outside import acceptor
from adapters.outside.authentication import Authenticator
from broker.contract.roles import Role
from broker.launch import accounts, certificates, tls
from broker.launch.accounts import Logins
from broker.runtime.settings import Settings

PEOPLE = {"ship-7": Role.DEVICE, "vera": Role.VIEWER, "otto": Role.OPERATOR, "ada": Role.ADMIN}


class World:
    """An installation with accounts, in a data directory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(acceptor, "_is_loopback", lambda _transport: False)
        self.settings = Settings.load({"SCAUP_DATA_DIR": str(folder)})
        self.passwords: dict[str, str] = {}
        certificates.ensure(self.settings)
        self.add(PEOPLE)

    def add(self, people: dict[str, Role], topics: tuple[str, ...] = ()) -> None:
        known = accounts.read_accounts(self.settings.data_dir)
        for name, role in people.items():
            known[name], self.passwords[name] = accounts.new_account(name, role, topics, datetime.now(UTC))
        with accounts.locked(self.settings.data_dir):
            accounts.write_accounts(self.settings.data_dir, known.values())

    def remove(self, name: str) -> None:
        known = accounts.read_accounts(self.settings.data_dir)
        del known[name]
        with accounts.locked(self.settings.data_dir):
            accounts.write_accounts(self.settings.data_dir, known.values())

    def outside(self, port: int, plaintext: bool = False) -> Outside:
        context = None if plaintext else tls.server_context(tls.certificate_files(self.settings))
        return Outside(("127.0.0.1",), port, context, Authenticator(Logins(self.settings.data_dir)))

    def login(self, name: str, password: str | None = None) -> str:
        """Return the value of `Authorization`."""
        given = self.passwords[name] if password is None else password
        return f"Basic {base64.b64encode(f'{name}:{given}'.encode()).decode()}"

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs that knows the authority."""
        return ssl.create_default_context(cafile=str(self.settings.data_dir / tls.AUTHORITY))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)
