"""The roles: what an account of each may publish and read, tried on a separate broker that runs for a moment.

That broker is the same program with the same rules as the plant's, plus an account for each role. So everything can be tried,
also what is allowed, and no trace of it is left in the plant or in the recording. Whether the plant's broker follows the rules
is checked by `checks.data_dir` (its files) and `checks.broker` (what it refuses).
"""

import os
import pwd
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from adapters.client.errors import ClientError, Unreachable
from adapters.client.paho_bus import connected
from adapters.launcher.checks import Finding, failed, ok, warning
from broker.contract import answers, streams
from broker.contract.roles import Rights, Role, anonymous_rights, rights
from broker.launch import mosquitto
from broker.launch.access import access_file
from broker.launch.accounts import Account, new_account
from broker.launch.credentials import write_password_file
from broker.message import Publication
from broker.mqtt.options import Address
from broker.mqtt.topics import matches
from broker.runtime.declaration import Declaration

START_LIMIT_S = 10.0
MOST_SHOWN = 5
_FEEDER, _END = "scaup-doctor-feeder", "scaup-doctor/end"
"""The account that publishes what the others try to read, and a filter without messages."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What an account could do, of the topics that were tried."""

    publishes: frozenset[str]
    reads: frozenset[str]


def check_roles(declarations: Mapping[str, Declaration]) -> list[Finding]:
    """Try every role, and a client without an account, on a broker that runs only for this."""
    if mosquitto.find() is None:
        return [
            warning("roles", "not tried: mosquitto is not installed on this machine", "install it: apt-get install mosquitto")
        ]
    try:
        with tempfile.TemporaryDirectory(prefix="scaup-doctor-") as folder:
            return list(_check(Path(folder), declarations))
    except (OSError, ClientError, mosquitto.BrokerUnusable) as error:
        return [warning("roles", f"not tried: {error}", "see the other findings about the broker")]


def topics_tried(name: str) -> frozenset[str]:
    """Return a topic of every stream that belongs to the account `name`, and one that belongs to another."""
    return frozenset(
        each.template.topic(**dict.fromkeys(each.template.parameters, level)) + ("/1" if each in answers() else "")
        for each in streams()
        for level in (name, "scaup-doctor-other")
    )


def expected(name: str, allowed: Rights, topics: Iterable[str]) -> Tried:
    """Return what an account with these rights must be able to do; its own answers are among what it may read."""
    may = [each for each in topics if not any(matches(hidden, each) for hidden in allowed.hides)]
    own = (f"/answer/{name}/1",) if name else ()
    return Tried(
        frozenset(each for each in may if any(matches(one, each) for one in allowed.publishes)),
        frozenset(each for each in may if each.endswith(own) or any(matches(one, each) for one in allowed.reads)),
    )


def judge(check: str, wanted: Tried, found: Tried, tried: int) -> Finding:
    """Compare what an account could do with what it may do."""
    wrong = [
        *(f"it may publish to {each}" for each in sorted(found.publishes - wanted.publishes)),
        *(f"it may read {each}" for each in sorted(found.reads - wanted.reads)),
        *(f"it may not publish to {each}" for each in sorted(wanted.publishes - found.publishes)),
        *(f"it may not read {each}" for each in sorted(wanted.reads - found.reads)),
    ]
    if wrong:
        more = f"; and {len(wrong) - MOST_SHOWN} more" if len(wrong) > MOST_SHOWN else ""
        return failed(
            check,
            "; ".join(wrong[:MOST_SHOWN]) + more,
            "this release of Mosquitto does not follow the access file: use another one",
        )
    return ok(check, f"of {tried} topics, publishes to {len(found.publishes)} and reads {len(found.reads)}; refused the others")


def _check(folder: Path, declarations: Mapping[str, Declaration]) -> Iterator[Finding]:
    now = datetime.now(UTC)
    made = {f"scaup-doctor-{role.value}": new_account(f"scaup-doctor-{role.value}", role, (), now) for role in Role}
    feeder = secrets.token_urlsafe(32)
    accounts = {name: account for name, (account, _) in made.items()}
    with _broker(folder, declarations, accounts, feeder) as port:
        address = Address(host="127.0.0.1", port=port)
        logins = {name: replace(address, username=name, password=password) for name, (_, password) in made.items()}
        feed = replace(address, username=_FEEDER, password=feeder)
        yield _try("no login", address, anonymous_rights(), feed)
        for name, account in accounts.items():
            yield _try(account.role.value, logins[name], rights(account.role, name), feed)


def _try(role: str, address: Address, allowed: Rights, feed: Address) -> Finding:
    """Publish every topic that is tried, and read what the feeder publishes on them."""
    name = address.username or ""
    topics = topics_tried(name or "scaup-doctor-device")
    with ExitStack() as stack:
        reader, feeder = stack.enter_context(connected(address)), stack.enter_context(connected(feed))
        reader.subscribe("#")
        for each in topics:
            feeder.try_publish(Publication(topic=each, payload=b"{}"))
        reader.subscribe(_END)  # the broker answers in order: by now all has arrived
        reads = {message.topic for message in iter(lambda: reader.receive(0.0), None)}
    publishes = {each for each in topics if _may_publish(address, each)}
    found = Tried(frozenset(publishes), frozenset(reads))
    return judge(f"role {role}", expected(name, allowed, topics), found, len(topics))


def _may_publish(address: Address, topic: str) -> bool:
    """Mosquitto 2.0.11 may close a connection on which it has refused a message, so each topic has its own."""
    with connected(address) as bus:
        return bus.try_publish(Publication(topic=topic, payload=b"{}")) < 0x80


@contextmanager
def _broker(
    folder: Path, declarations: Mapping[str, Declaration], accounts: Mapping[str, Account], feeder: str
) -> Iterator[int]:
    """Run a broker with these accounts, and return its port."""
    access = access_file(declarations.values(), accounts.values())
    (folder / "access").write_text(f"{access}\nuser {_FEEDER}\ntopic readwrite #\n")
    write_password_file(folder / "passwords", {_FEEDER: feeder}, {name: each.password_hash for name, each in accounts.items()})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    user = [f"user {pwd.getpwuid(0).pw_name}"] if os.geteuid() == 0 else []
    files = [f"acl_file {folder}/access", f"password_file {folder}/passwords"]
    common = ["allow_anonymous true", "max_inflight_messages 20000", "log_dest none"]
    lines = [*common, *files, *user, f"listener {port} 127.0.0.1"]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    command = [str(mosquitto.require()), "-c", str(folder / "mosquitto.conf")]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        _wait(process, port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    until_s = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < until_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise Unreachable("the broker for it does not start")
