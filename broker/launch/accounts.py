"""Accounts of people and devices: names, roles and hashes of generated passwords, in one file that only its owner can read.

Everything that asks for a login checks it against this file: the broker, for which the access file and the password file are
made from it, and HTTP and websocket servers by `Logins`. A password itself is kept nowhere.
"""

import fcntl
import hmac
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from broker.contract.roles import Role, check_topics
from broker.errors import BusError
from broker.launch.credentials import fits, hashed, write_private
from broker.runtime.settings import CREDENTIALS, read_password

FILE, LOCK = "accounts.json", "accounts.lock"
"""Names of the file and of its lock in the folder of the credentials."""

OPERATOR = "operator"
"""The command line's generated account, an administrator."""

LONGEST_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RESERVED = frozenset(
    (OPERATOR, "device", "anonymous", "answer", "recorder", "web", "devices", "modbus", "sparkplug", "lake-forwarder", "scaup")
)
"""Names with a special meaning, beside those of the components; also of components that a system may have later."""


class AccountError(BusError):
    """An account cannot be made or changed as wanted; `fix` says what to do. With `usage`, it never can be."""

    def __init__(self, text: str, fix: str, usage: bool = False) -> None:
        super().__init__(text)
        self.fix, self.usage = fix, usage


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account, without its password.

    `topics` are filters in place of those of the role (`broker.contract.roles.rights`). `password_hash` is in the format of
    mosquitto_passwd(1).
    """

    name: str
    role: Role
    topics: tuple[str, ...] = ()
    password_hash: str
    made_at: datetime
    changed_at: datetime


class _File(msgspec.Struct, frozen=True):
    accounts: tuple[Account, ...] = ()


class Logins:
    """Checks names and passwords of people and devices; sees every change of the accounts.

    The generated account of the operator counts as an administrator. Components have no login here.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._seen: tuple[int, int, int] | None = None
        self._accounts: dict[str, Account] = {}
        self._made: Account | None = None
        self._operators_password = ""
        self._unknown = hashed(secrets.token_urlsafe(32))

    def verify(self, name: str, password: str) -> Account | None:
        """Return the account with this name and password, None if there is none.

        How long it takes shows neither which names there are nor how much of a password is right.

        Raises:
            AccountError: the file of the accounts cannot be read.
        """
        if name == OPERATOR:
            return self._operator() if self._is_operators(password) else None
        account = self._current().get(name)
        known = fits(self._unknown if account is None else account.password_hash, password)
        return account if known else None

    def is_current(self, account: Account) -> bool:
        """Return whether an account that `verify` returned still has the same password and rights.

        Raises:
            AccountError: the file of the accounts cannot be read.
        """
        return account == (self._operator() if account.name == OPERATOR else self._current().get(account.name))

    def version(self) -> tuple[object, ...]:
        """Return a value that is another one after every change of an account."""
        return self._stamp(FILE), self._stamp(OPERATOR)

    def _stamp(self, name: str) -> tuple[int, int, int] | None:
        try:
            found = (self._data_dir / CREDENTIALS / name).stat()
        except OSError:  # what is wrong with it, `read_accounts` reports
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def _current(self) -> dict[str, Account]:
        """Return the accounts, read once for each version of the file, which is only ever replaced as a whole."""
        seen = self._stamp(FILE)
        if seen is None or seen != self._seen:
            self._accounts = read_accounts(self._data_dir)
            self._seen = seen
        return self._accounts

    def _is_operators(self, password: str) -> bool:
        own = read_password(self._data_dir, OPERATOR)
        return own is not None and hmac.compare_digest(own.encode(), password.encode("utf-8", "surrogatepass"))

    def _operator(self) -> Account | None:
        """Return the operator's account, the same until its password changes."""
        own = read_password(self._data_dir, OPERATOR)
        if own is None:
            return None
        if own != self._operators_password:
            now = datetime.now(UTC)
            self._made = Account(name=OPERATOR, role=Role.ADMIN, password_hash=hashed(own), made_at=now, changed_at=now)
            self._operators_password = own
        return self._made


def new_account(name: str, role: Role, topics: Iterable[str], now: datetime) -> tuple[Account, str]:
    """Return a new account and its password, 256 random bits.

    Raises:
        InvalidTopic: the role may not have one of the filters.
    """
    filters = tuple(dict.fromkeys(topics))
    check_topics(role, filters)
    password = secrets.token_urlsafe(32)
    return Account(name=name, role=role, topics=filters, password_hash=hashed(password), made_at=now, changed_at=now), password


def with_new_password(account: Account, now: datetime) -> tuple[Account, str]:
    """Return an account with a new password, and that password."""
    password = secrets.token_urlsafe(32)
    return msgspec.structs.replace(account, password_hash=hashed(password), changed_at=now), password


def check_name(name: str, components: Collection[str]) -> None:
    """Check the name of a new account. `components` are the names that components have.

    Raises:
        AccountError: an account cannot have it.
    """
    fix = "use up to 64 letters of a to z, digits, and . _ - between them; for a device, the level that its topics have"
    if not _NAME.fullmatch(name) or ".." in name or len(name) > LONGEST_NAME:
        shown = name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "…"
        raise AccountError(f"{shown!r} cannot be the name of an account", fix, usage=True)
    if name.lower() in _RESERVED | set(components):
        raise AccountError(
            f"{name!r} is reserved: a component or Scaup itself has this name", "choose another name", usage=True
        )


def read_accounts(data_dir: Path) -> dict[str, Account]:
    """Return all accounts by name.

    Raises:
        AccountError: the file cannot be read, or is not what Scaup writes.
    """
    path = data_dir / CREDENTIALS / FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise AccountError(f"{path} cannot be read: {error.strerror}", "use the user that `make up` was typed by") from error
    except msgspec.MsgspecError as error:
        raise AccountError(
            f"{path} is damaged: {error}", "restore it from a backup, or remove it and add the accounts again"
        ) from error
    return {each.name: each for each in found.accounts}


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Let only one process change the accounts, or what is made from them; the others wait."""
    folder = data_dir / CREDENTIALS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        (folder / LOCK).chmod(0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_accounts(data_dir: Path, accounts: Iterable[Account]) -> None:
    """Replace all accounts; call it while they are `locked`."""
    ordered = tuple(sorted(accounts, key=lambda each: each.name))
    text = msgspec.json.format(msgspec.json.encode(_File(ordered)), indent=1).decode()
    write_private(data_dir / CREDENTIALS / FILE, text + "\n")
