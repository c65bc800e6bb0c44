"""Client ids: whether they are secret, and whether a client without a login gets a session by a name that anyone can guess."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.launcher.checks import Finding, failed, ok, warning
from adapters.launcher.orphans import RECORDER
from broker.errors import BrokerUnavailable
from broker.mqtt.options import Address, Options
from broker.runtime.client_id import DONE, HANDOVER, read_note, read_secret
from broker.runtime.declaration import Declaration
from broker.runtime.settings import CREDENTIALS, Settings

RECORDING, NEVER_EXPIRES = "scaup-recorder", 0xFFFFFFFF
"""Client id of the recording session of earlier releases, and how long it lasts; the others had the names of components."""

HasSession = Callable[[Options], bool]
"""Returns whether the broker has a session that a client without a login gets; raises BrokerUnavailable."""

_MAKE_UP = "type `make up`: it makes what is missing, and changes nothing else"


def check_client_ids(data_dir: Path, declarations: Mapping[str, Declaration], has_session: HasSession) -> list[Finding]:
    """Check that every component has a secret, and that no session of an earlier release is left."""
    return [secrets(data_dir, declarations), sessions(data_dir, declarations, has_session)]


def secrets(data_dir: Path, declarations: Mapping[str, Declaration]) -> Finding:
    """Check that every component has a secret part in its client id; `data_dir.secrets` checks who may read it."""
    names = [name for each in declarations.values() for name in each.names]
    missing = [name for name in names if read_secret(data_dir, name) is None]
    if missing:
        return warning("client ids", f"no secret for {', '.join(missing)}", _MAKE_UP)
    return ok("client ids", f"{len(names)} with a secret part")


def sessions(data_dir: Path, declarations: Mapping[str, Declaration], has_session: HasSession) -> Finding:
    """Try every client id that had a session in earlier releases, unless its component has not taken that session over yet."""
    check = "guessed client ids"
    guessed = {each.name: Options(client_id=each.name, session_expiry_s=each.session_s) for each in declarations.values()}
    guessed = {name: each for name, each in guessed.items() if each.session_expiry_s}
    if RECORDER in declarations:
        guessed[RECORDER] = Options(client_id=RECORDING, session_expiry_s=NEVER_EXPIRES)
    done = [name for name in guessed if read_note(data_dir, name) == DONE]
    try:
        found = {name: guessed[name].client_id for name in done if has_session(guessed[name])}
    except BrokerUnavailable as error:
        return warning(check, f"not tried: {error}", "see the other findings about the broker")
    if found:
        files = " ".join(str(data_dir / CREDENTIALS / (name + HANDOVER)) for name in found)
        fix = (
            f"if an earlier release ran here since, remove {files} and type `make down up`, which takes it over; "
            f"if not, end it with: mosquitto_sub -V 5 -i {next(iter(found.values()))} -t x -W 1"
        )
        return failed(check, f"anyone can get the session of {', '.join(found.values())}", fix)
    if left := [name for name in guessed if name not in done and read_secret(data_dir, name) is not None]:
        return warning(check, f"{', '.join(left)} may have a session of an earlier release", "type `make up`: it is taken over")
    return ok(check, f"no session of {', '.join(each.client_id for each in guessed.values())}")


def session_at(settings: Settings, account: str) -> HasSession:
    """Return the check of a broker: without a login, or with that of `account` where the broker requires one."""
    with_login = settings.broker_address(account)
    anonymous = Address(host=with_login.host, port=with_login.port, ca=with_login.ca)

    def has_session(options: Options) -> bool:
        try:
            return asyncio.run(_has_session(anonymous, options))
        except BrokerUnavailable:
            return asyncio.run(_has_session(with_login, options))

    return has_session


async def _has_session(address: Address, options: Options) -> bool:
    """Look for a session, and leave it as it is: nothing is acknowledged, and it expires as late as before."""
    from broker.mqtt.visit import Visit, end_session

    async with Visit(address, options) as visit:
        pass
    if not visit.present:
        await end_session(address, options)
    return visit.present
