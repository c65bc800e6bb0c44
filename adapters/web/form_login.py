"""The page's form as the login of people beyond this machine, over TLS. The page itself is open, and empty without it."""

from starlette.requests import HTTPConnection

from adapters.outside.authentication import Authenticator, may_query
from adapters.web.routes import VIEWS
from adapters.web.sign_in import COOKIE, SignIns
from broker.contract.roles import Role
from broker.launch.accounts import Account

_OWN = ("/live", "/session", "/sign-in", "/sign-out", "/publish", "/request", "/energy-file", "/export")
"""What the page's scripts ask for."""
_FILES = ("/static/", "/vendor/")
_VIEWS = frozenset(each.partition("/{")[0] for each in VIEWS)


class PageLogin:
    """Finds the account of a browser by its cookie.

    Args:
        sign_ins: of browsers.
        authenticator: knows which accounts are still the same.
    """

    def __init__(self, sign_ins: SignIns, authenticator: Authenticator) -> None:
        self._sign_ins, self._authenticator = sign_ins, authenticator

    def is_open(self, method: str, path: str) -> bool:
        """Return whether a request needs no login: the page, its files and its form, which hold nothing of the plant."""
        if method == "POST":
            return path == "/sign-in"
        return method in ("GET", "HEAD") and (path == "/session" or is_page(path))

    def is_own(self, path: str) -> bool:
        """Return whether the page's scripts ask for a path."""
        return path in _OWN or is_page(path)

    def account(self, connection: HTTPConnection) -> Account | None:
        """Return the account that logged in with the form, None if none did or it has changed since."""
        session = self._sign_ins.get(connection.cookies.get(COOKIE))
        account = session.account if session is not None else None
        return account if account is not None and self._authenticator.knows(account) else None


def is_page(path: str) -> bool:
    """Return whether there is a view or a file of the page at a path."""
    first = "/" + path.split("/")[1]
    return path.startswith(_FILES) or (first in _VIEWS and path.count("/") <= 2)


def may_see(account: Account) -> bool:
    """Return whether an account may see the page, which shows all topics: operators, and viewers of all."""
    return may_query(account) or (account.role is Role.VIEWER and not account.topics)
