"""Signing in to the page: a browser's session is a connection to the broker with the account's name and password.

So the broker decides: it checks the password when the connection is made, its access rules decide each publication, and an
account that is removed or changed is disconnected by the broker, which ends the session.
"""

import asyncio
import hmac
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace

from adapters.client.aio import AsyncExchange
from adapters.client.errors import Unreachable
from adapters.outside.attempts import Attempts
from broker.contract.roles import answer_filters
from broker.errors import BrokerUnavailable, LoginRefused, NotAllowed, Rejected
from broker.launch.accounts import Account
from broker.log import Log
from broker.message import Publication, read_message
from broker.mqtt.connection import Connection, ConnectionListener
from broker.mqtt.network import NetworkConnection
from broker.mqtt.options import Address, Options, Subscription
from broker.mqtt.packets import Delivery
from broker.runtime.client_id import random_secret
from broker.runtime.clock import PlantClock
from broker.runtime.publisher import Publisher

log = Log(__name__)

COOKIE = "scaup-session"
TOKEN_HEADER = "x-scaup-token"  # noqa: S105 - the name of a header
IDLE_S = 12 * 3600.0
MOST_SESSIONS = 200
MOST_TRIALS = 4
"""Logins that are tried at once: guesses that begin together would not be counted against each other."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 5.0, 5.0
LOST_S = 30.0
"""A session ends when its connection has been lost for this long: the account was removed, or its password changed."""


class WrongLogin(Exception):
    """The broker does not accept the name and password."""


class TooManyLogins(Exception):
    """Too many wrong logins; `wait_s` says when to try again."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong logins: try again in {wait_s:.0f} s")
        self.wait_s = wait_s


class AccountBus(ConnectionListener):
    """A connection to the broker as one account: it publishes, and sends requests that are answered.

    Attributes:
        name: the account.
        lost_s: when the connection was lost, on the loop's clock; None while it is there.
    """

    def __init__(self, address: Address, clock: PlantClock) -> None:
        self.name = address.username or ""
        self._clock, self._publisher = clock, Publisher(self.name, clock)
        self._exchanges: dict[str, AsyncExchange] = {}
        self._address = address
        answers = (each.removesuffix("#") + f"{self.name}/#" for each in answer_filters())
        subscriptions = tuple(Subscription(filter=each) for each in answers)
        self._options = Options(client_id=f"web-{self.name}", secret=random_secret(), subscriptions=subscriptions)
        self._connection = Connection(address, self._options, self)
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self.lost_s: float | None = None

    async def connect(self) -> None:
        """Log in, and stay connected until `close`.

        Raises:
            LoginRefused: the broker does not accept the login.
            BrokerUnavailable: there is no broker.
        """
        trial = NetworkConnection(self._address, self._options, lambda _: None, lambda *_: None, lambda: None)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await trial.connect()
            await trial.disconnect()
        except TimeoutError:
            raise BrokerUnavailable(f"the broker has not answered within {CONNECT_TIMEOUT_S:g} s") from None
        finally:
            trial.abort()
        self._task = asyncio.create_task(self._connection.run(), name=f"account {self.name}")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._up.wait()
        except TimeoutError:
            self.close()
            raise BrokerUnavailable(f"the broker has not answered within {CONNECT_TIMEOUT_S:g} s") from None

    def close(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()

    def on_up(self) -> None:
        """Note the connection."""
        self.lost_s = None
        self._up.set()

    def on_down(self) -> None:
        """Note its loss."""
        self.lost_s = asyncio.get_running_loop().time()

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Take answers."""
        for delivery in deliveries:
            exchange = self._exchanges.get(delivery.topic)
            if exchange is not None:
                with suppress(Rejected):
                    exchange.take(read_message(delivery))

    def publish(self, publication: Publication) -> None:
        """Publish without waiting for the acknowledgement.

        Raises:
            InvalidTopic: the topic cannot be published to.
        """
        self._publisher.publish(publication, self._connection)

    async def ping(self, timeout_s: float) -> None:
        """Check that the broker answers.

        Raises:
            BrokerUnavailable: it does not.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.ping()
        except TimeoutError:
            raise BrokerUnavailable(f"the broker has not answered within {timeout_s:g} s") from None

    def now_s(self) -> float:
        """Return plant time in seconds."""
        return self._clock.now_s()

    async def deliver(self, publication: Publication, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Publish, and wait for the broker's acknowledgement.

        Raises:
            NotAllowed: the access rules do not allow it.
            BrokerUnavailable: there is no connection, or the broker has not answered in time.
            InvalidTopic: the topic cannot be published to.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.deliver(self._publisher.stamped(publication))
        except TimeoutError:
            raise BrokerUnavailable(f"the broker has not answered within {timeout_s:g} s") from None

    async def request(self, publication: Publication, answer_topic: str, timeout_s: float = ANSWER_TIMEOUT_S) -> bytes:
        """Publish a request, and return the payload of its answer.

        Raises:
            NotAllowed: the access rules do not allow it.
            ClientError: there is no answer.
            InvalidTopic: the topic cannot be published to.
        """
        exchange = self._exchanges.setdefault(answer_topic, AsyncExchange(answer_topic))
        try:
            return (await exchange.request(self, publication, timeout_s)).final.message.payload
        except Unreachable as error:
            if isinstance(error.__cause__, NotAllowed):
                raise error.__cause__ from None
            raise


@dataclass(slots=True)
class SignedIn:
    """A browser that has signed in. `token` must come with every action: other sites do not know it.

    Attributes:
        account: of a browser on another machine; None: on this one, where everything may be seen.
    """

    bus: AccountBus
    used_s: float
    account: Account | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))


class SignIns:
    """The browsers that have signed in.

    Args:
        address: of the broker; its login is not used.
        clock: of the plant.
    """

    def __init__(self, address: Address, clock: PlantClock) -> None:
        self._address, self._clock = address, clock
        self._attempts, self._trials = Attempts(), asyncio.Semaphore(MOST_TRIALS)
        self._sessions: dict[str, SignedIn] = {}

    async def sign_in(self, name: str, password: str, client: str) -> tuple[str, SignedIn]:
        """Return the cookie's value and the session.

        Args:
            name: the account.
            password: its password.
            client: the browser's address, for the limit on wrong logins.

        Raises:
            WrongLogin: the broker does not accept them.
            TooManyLogins: too many were wrong; this one was not tried.
            BrokerUnavailable: there is no broker.
        """
        async with self._trials:
            now_s = asyncio.get_running_loop().time()
            if wait_s := self._attempts.wait_s(name, client, now_s):
                raise TooManyLogins(wait_s)
            try:
                bus = await self._log_in(name, password)
            except LoginRefused:
                self._attempts.wrong(name, client, now_s)
                raise WrongLogin("name or password is wrong") from None
            self._attempts.right(name, client)
        self._expire(now_s)
        while len(self._sessions) >= MOST_SESSIONS:
            self.sign_out(min(self._sessions, key=lambda each: self._sessions[each].used_s))
        cookie = secrets.token_urlsafe(32)
        session = self._sessions[cookie] = SignedIn(bus, now_s)
        log.info("signed-in", "%(account)s signed in", account=name)
        return cookie, session

    async def _log_in(self, name: str, password: str) -> AccountBus:
        if _NOT_IN_NAMES.search(name):  # it would become a part of filters before the broker has checked it
            raise LoginRefused("no account has such a name")
        bus = AccountBus(replace(self._address, username=name, password=password), self._clock)
        await bus.connect()
        return bus

    def get(self, cookie: str | None) -> SignedIn | None:
        """Return the session of a cookie, None if there is none any more."""
        now_s = asyncio.get_running_loop().time()
        self._expire(now_s)
        session = self._sessions.get(cookie or "")
        if session is not None:
            session.used_s = now_s
        return session

    def sign_out(self, cookie: str | None) -> None:
        """End a session."""
        session = self._sessions.pop(cookie or "", None)
        if session is not None:
            session.bus.close()

    def close(self) -> None:
        """End all sessions."""
        for cookie in list(self._sessions):
            self.sign_out(cookie)

    def _expire(self, now_s: float) -> None:
        for cookie, session in list(self._sessions.items()):
            lost_s = session.bus.lost_s
            if now_s - session.used_s > IDLE_S or (lost_s is not None and now_s - lost_s > LOST_S):
                self.sign_out(cookie)


def has_token(session: SignedIn, token: str | None) -> bool:
    """Return whether a request has the session's token."""
    return token is not None and hmac.compare_digest(session.token.encode(), token.encode())
