"""The catalog's PostgreSQL: the rows of the sites, their accounts, and the trigger that makes forwarding exact."""

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from adapters.client.errors import Failed, Refused, Unreachable
from adapters.lake.binding import Binding
from adapters.lake.files import LakeFile

TRIGGER = "scaup_forward"
_WAITS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "scaup",
}
"""A connection whose other end is gone fails within seconds."""
_STATE = """
SELECT s.*, EXISTS (SELECT FROM pg_trigger WHERE tgname = 'scaup_forward' AND tgenabled IN ('O', 'A')
        AND tgrelid = to_regclass('ducklake_snapshot_changes')) AS has_trigger
FROM scaup_site s WHERE site = %s
"""
_MOVABLE = "incarnation, epoch, upto, last_at, seen_at, behind, state"
_BLOCKING = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
"""
_STATUS = """
SELECT site, incarnation, upto, behind, last_at,
    CASE WHEN state <> 'forwarding' THEN state WHEN seen_at < now() - INTERVAL '60 s' THEN 'silent' ELSE state END AS state
FROM scaup_site ORDER BY site
"""


@dataclass(frozen=True, slots=True)
class SiteRow:
    """The row of a site, and whether the trigger is there."""

    incarnation: str
    epoch: int
    upto: int
    binding: Binding | None
    has_trigger: bool


def conninfo(lake: LakeFile) -> str:
    """Return how libpq reaches the catalog. The password is not in it: it would be in messages of errors."""
    user = lake.account or unquote(urlsplit(lake.catalog).username or "")
    return str(make_conninfo(lake.catalog, user=user, **_WAITS))


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors of PostgreSQL into those of the command line."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(f"PostgreSQL: {_text(error)}", "use an account that may create roles and tables") from error
    except psycopg.OperationalError as error:
        text = _text(error)
        if "authentication" in text or "password" in text:
            raise Refused(f"PostgreSQL: {text}", "set PGPASSWORD to the password of the catalog's account") from error
        raise Unreachable(f"PostgreSQL cannot be reached: {text}", "check its address, and that it runs") from error
    except psycopg.errors.UndefinedTable as error:
        raise Failed("this database has no lake of Scaup", "type `scaup lake init` first") from error
    except psycopg.Error as error:
        raise Failed(f"PostgreSQL: {_text(error)}", "see its log") from error


class Catalog:
    """A connection to the catalog, each statement a transaction of its own."""

    def __init__(self, lake: LakeFile) -> None:
        """Connect.

        Raises:
            psycopg.Error: that failed.
        """
        self._lake = lake
        self.connection = psycopg.connect(conninfo(lake), password=lake.password or None, autocommit=True, row_factory=dict_row)

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()

    def prepare(self) -> None:
        """Add Scaup's table and trigger to a new DuckLake catalog; harmless when repeated."""
        with self.connection.transaction():
            self.connection.execute(files(__package__).joinpath("catalog.sql").read_text("utf-8"))
        try:  # DuckLake recognises conflicts by PostgreSQL's English texts
            name = sql.Identifier(str(self._one("SELECT current_database() AS name")["name"]))
            self.connection.execute(sql.SQL("ALTER DATABASE {} SET lc_messages = 'C'").format(name))
        except psycopg.errors.InsufficientPrivilege:
            return

    def join(self, site: str, binding: Binding, takeover: bool) -> tuple[str, str]:
        """Bind a data directory to a site and make the site's account; return its name and its new password.

        After a takeover the site has no incarnation, until its forwarder names one.

        Raises:
            Refused: the site is bound to another directory, and this is no takeover.
        """
        with self.connection.transaction():
            self.connection.execute("LOCK TABLE scaup_site IN SHARE ROW EXCLUSIVE MODE")
            row = self.connection.execute("SELECT * FROM scaup_site WHERE site = %s", [site]).fetchone()
            before = Binding.of_row(row) if row else None
            if before is not None and before != binding and not takeover:
                raise Refused(
                    f"site {site} is joined already, from {before.place}",
                    "choose another --site; for a restored backup, or a site that moved, add --takeover",
                )
            account, password = row["account"] if row else self._account(site), secrets.token_urlsafe(24)
            self._make_account(account, password)
            self.connection.execute(
                """INSERT INTO scaup_site (site, account, machine, device, inode, directory, host)
                   VALUES (%(site)s, %(account)s, %(machine)s, %(device)s, %(inode)s, %(directory)s, %(host)s)
                   ON CONFLICT (site) DO UPDATE SET machine = %(machine)s, device = %(device)s, inode = %(inode)s,
                       directory = %(directory)s, host = %(host)s, state = 'joined', epoch = scaup_site.epoch + 1,
                       incarnation = CASE WHEN %(takeover)s THEN '' ELSE scaup_site.incarnation END,
                       upto = CASE WHEN %(takeover)s THEN 0 ELSE scaup_site.upto END""",
                {"site": site, "account": account, "takeover": takeover, **binding.columns},
            )
        return account, password

    def leave(self, site: str) -> None:
        """Unbind a site; what it forwarded stays."""
        self.connection.execute("UPDATE scaup_site SET state = 'left', epoch = epoch + 1 WHERE site = %s", [site])

    def row(self, site: str) -> SiteRow | None:
        """Return the row of a site, None if there is none that this account may see."""
        row = self.connection.execute(_STATE, [site]).fetchone()
        if row is None:
            return None
        return SiteRow(row["incarnation"], row["epoch"], row["upto"], Binding.of_row(row), row["has_trigger"])

    def claim(self, site: str) -> None:
        """Raise the epoch: from now on no earlier forwarder of the site can commit. One that is frozen in a commit is ended."""
        self.connection.execute("SET lock_timeout = '2s'")
        for last in (False, True):
            try:
                self.connection.execute(
                    "UPDATE scaup_site SET epoch = epoch + 1, state = 'forwarding', seen_at = now() WHERE site = %s", [site]
                )
            except psycopg.errors.LockNotAvailable:
                if last:
                    raise
                self.connection.execute(_BLOCKING)
            else:
                break
        self.connection.execute("SET lock_timeout = 0")

    def begin(self, site: str, epoch: int, incarnation: str, upto: int) -> bool:
        """Let a site go on with another database file, or from another number; return False if another forwarder took over."""
        done = self.connection.execute(
            "UPDATE scaup_site SET incarnation = %s, upto = %s WHERE site = %s AND epoch = %s", [incarnation, upto, site, epoch]
        )
        return int(done.rowcount) == 1

    def skip(self, site: str, epoch: int, incarnation: str, first: int, last: int) -> None:
        """Move past a range whose messages are all deleted."""
        self.connection.execute(
            """UPDATE scaup_site SET upto = %s, last_at = now()
               WHERE site = %s AND epoch = %s AND incarnation = %s AND upto = %s""",
            [last, site, epoch, incarnation, first - 1],
        )

    def report(self, site: str, epoch: int, behind: int, state: str) -> None:
        """Write down how far behind the lake is."""
        self.connection.execute(
            "UPDATE scaup_site SET behind = %s, state = %s, seen_at = now() WHERE site = %s AND epoch = %s",
            [behind, state, site, epoch],
        )

    def status(self) -> list[dict[str, Any]]:
        """Return what `scaup lake status` shows of the sites that this account may see."""
        return list(self.connection.execute(_STATUS).fetchall())

    def has_trigger(self) -> bool:
        """Return whether the trigger is there and on."""
        sql_text = "SELECT count(*) AS found FROM pg_trigger WHERE tgname = 'scaup_forward' AND tgenabled IN ('O', 'A')"
        return self._one(sql_text)["found"] > 0  # type: ignore[no-any-return]

    def _account(self, site: str) -> str:
        database = str(self._one("SELECT current_database() AS name")["name"])
        name = f"scaup_{database}_{site}"
        if len(name) <= 63:
            return name
        return f"scaup_{hashlib.sha256(name.encode()).hexdigest()[:40]}"

    def _make_account(self, account: str, password: str) -> None:
        name = sql.Identifier(account)
        if not self._one("SELECT count(*) AS found FROM pg_roles WHERE rolname = %s", account)["found"]:
            self.connection.execute(sql.SQL("CREATE ROLE {}").format(name))
        database = sql.Identifier(str(self._one("SELECT current_database() AS name")["name"]))
        for statement in (
            sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(name, sql.Literal(password)),
            sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = '60s'").format(name),
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, name),
            sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(name),
            sql.SQL("GRANT SELECT ON scaup_site TO {}").format(name),
            sql.SQL("GRANT UPDATE ({}) ON scaup_site TO {}").format(sql.SQL(_MOVABLE), name),
        ):
            self.connection.execute(statement)
        for row in self.connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'ducklake\\_%'"
        ).fetchall():
            table = sql.Identifier(row["tablename"])
            self.connection.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(table, name))

    def _one(self, statement: str, *parameters: object) -> dict[str, Any]:
        row = self.connection.execute(statement, parameters or None).fetchone()
        assert row is not None
        return dict(row)


def _text(error: psycopg.Error) -> str:
    text = str(error).strip() or type(error).__name__
    _, fatal, reason = text.rpartition("FATAL:  ")
    return reason if fatal else re.sub(r"^(connection failed|ERROR):\s*", "", text.partition("\n")[0])
