"""The work of `scaup lake`. To be imported after `adapters.lake.central.enter`: it needs the packages of the lake."""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from adapters.cli.notices import warn
from adapters.cli.session import DatabaseFile, query_errors
from adapters.client.answers import Answer
from adapters.client.errors import ClientError, Failed, Refused, Unreachable, WrongUsage
from adapters.client.session import Session
from adapters.lake import ducklake, files
from adapters.lake.binding import Binding
from adapters.lake.catalog import Catalog, reported
from adapters.lake.files import LakeFile
from adapters.lake.outbox import Waiting
from broker.contract.outbox import MESSAGES, NOT_FORWARDED, OUTBOX
from broker.contract.sql import identifier, literal
from broker.contract.storage.topics import QueryRequest
from broker.runtime.settings import Settings
from storage.database.migrate import migrate
from storage.errors import StorageError
from storage.query.sandbox import check, open_read_only, tables_read

_SCHEMA = """
SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'live' ORDER BY table_name, column_index
"""
_MADE = "SELECT min(epoch_us(applied_at)) FROM schema_migration"
_TRIES = 5
_QUERY_MEMORY_MB = 2048


def init(catalog: str, store: str, endpoint: str, region: str) -> str:
    """Make a lake where there is none; return the site file.

    Raises:
        ClientError: an address cannot be used, or a server refuses it.
    """
    lake, password = files.new_lake(catalog, store, endpoint, region)
    if not (lake.access_key and lake.secret_key):
        raise WrongUsage(f"{files.KEY} and {files.SECRET} are not both set", "set them to the key of the S3 store")
    admin = replace(lake, password=password)
    with reported(), Catalog(admin):
        pass  # PostgreSQL's own errors are clearer than DuckDB's
    with _duckdb_errors(), ducklake.open_store(admin) as connection:  # before the catalog has the store's address for good
        connection.execute(f"SELECT file FROM glob({literal(lake.store + '/*')}) LIMIT 1").fetchall()
    with _attached(admin) as connection:
        connection.execute("BEGIN")
        ducklake.make_tables(connection, _tables_of_a_site())
        connection.execute("COMMIT")
        ducklake.set_options(connection)
    with reported(), Catalog(admin) as opened:
        opened.prepare()
    return replace(lake, access_key="", secret_key="").text()


def join(settings: Settings, file: Path, site: str, takeover: bool) -> None:
    """Bind the data directory to a site of a lake, and write its lake.toml.

    Raises:
        ClientError: the name cannot be used, the site is bound elsewhere, or a server cannot be reached.
    """
    if not files.SITE_NAME.fullmatch(site):
        raise WrongUsage(f"{site!r} cannot be the name of a site", "use letters, digits, - _ and ., 40 characters at most")
    admin = files.read(file).as_administrator
    if not (admin.access_key and admin.secret_key):
        raise WrongUsage(f"{files.KEY} and {files.SECRET} are not both set", "set them to the key of the S3 store")
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.lake_file.exists() and (present := files.read(settings.lake_file)).site not in ("", site) and not takeover:
        raise Refused(f"this data directory forwards for site {present.site}", "type `scaup lake leave` first")
    with reported(), Catalog(admin) as catalog:
        row = catalog.row(site)
        again = _divergence(settings, admin, site, row.incarnation) if takeover and row is not None and row.incarnation else {}
        account, password = catalog.join(site, Binding.of(settings.data_dir), takeover)
    if not again and not takeover and settings.lake_file.exists():
        before = files.read(settings.lake_file)  # joined again: what an earlier takeover found still holds
        again = {"database": before.database, "incarnation": before.incarnation, "since": before.since}
    files.write(settings.lake_file, replace(admin, site=site, account=account, password=password, **again))


def status(settings: Settings) -> list[dict[str, Any]]:
    """Return the rows of the sites.

    Raises:
        ClientError: there is no lake.toml, or the catalog cannot be reached.
    """
    lake = files.read(settings.lake_file)
    admin = lake.as_administrator
    with reported(), Catalog(admin if admin.password or not lake.account else lake) as catalog:
        rows = catalog.status()
    for row in rows:
        if row["site"] == lake.site and (recorded := Waiting(settings.data_dir).recorded(row["incarnation"].partition("+")[0])):
            row["behind"] = max(0, recorded - row["upto"])
    return rows


@contextmanager
def query(session: Session, request: QueryRequest, lake_only: bool) -> Iterator[Answer]:
    """Answer a query about all sites, with what this one has recorded and not forwarded.

    Raises:
        ClientError: the statement is refused or wrong, or a server cannot be reached.
    """
    lake = files.read(session.settings.lake_file)
    if not lake.account:
        lake = lake.as_administrator
    with _attached(lake, memory_mb=_QUERY_MEMORY_MB, read_only=True) as connection:
        tables = sorted(ducklake.known_columns(connection))
        with query_errors(request):
            check(connection, request.sql)
            read = tables_read(connection, request.sql)
        if internal := [each for each in read if each.lower().startswith("__ducklake_metadata")]:
            raise Refused(f"{internal[0]} is not a table of the lake", "`scaup lake status` shows the sites")
        read = {each.rpartition(".")[2] for each in read}.intersection(tables)
        views = {} if lake_only or not lake.site else _with_newest(session, connection, lake, sorted(read))
        for table in tables:
            sql = views.get(table, f"SELECT * FROM lake.main.{identifier(table)}")
            connection.execute(f"CREATE TEMP VIEW {identifier(table)} AS {sql}")
        folder = lake.store.rstrip("/") + "/"
        connection.execute(f"SET allowed_directories = [{literal(folder)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        file = DatabaseFile(connection)
        try:
            yield file.query(request)
        finally:
            file.close()


def maintain(settings: Settings, keep_days: int) -> Iterator[str]:
    """Merge small files, forget old states, and remove files that only those had.

    Raises:
        ClientError: a server cannot be reached, or the account may not do it.
    """
    lake = files.read(settings.lake_file).as_administrator
    with reported(), Catalog(lake):
        pass
    older = f"older_than => now() - INTERVAL '{keep_days} days'"
    with _attached(lake, memory_mb=_QUERY_MEMORY_MB) as connection:
        for text, sql in (
            ("files merged", "CALL ducklake_merge_adjacent_files('lake')"),
            ("old states forgotten", f"CALL ducklake_expire_snapshots('lake', {older})"),
            ("unused files removed", f"CALL ducklake_cleanup_old_files('lake', {older})"),
        ):
            yield f"{text}: {_repeated(connection, sql):,}"


def leave(settings: Settings) -> None:
    """Unbind the data directory, and remove lake.toml and the outbox.

    Raises:
        ClientError: the catalog cannot be reached.
    """
    lake = files.read(settings.lake_file)
    try:
        with reported(), Catalog(lake) as catalog:
            catalog.leave(lake.site)
    except Unreachable as error:
        warn(f"{error.message}: the catalog still has this site as joined; joining again needs --takeover elsewhere")
    settings.lake_file.unlink()
    shutil.rmtree(settings.data_dir / OUTBOX, ignore_errors=True)


def _tables_of_a_site() -> ducklake.Columns:
    """Return the columns of the tables with numbers that a new database has."""
    with duckdb.connect(":memory:") as connection:
        migrate(connection)
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in connection.execute(_SCHEMA).fetchall():
            found.setdefault(table, {})[column] = kind
    return {
        table: ducklake.forwarded_columns(table, columns.items()) for table, columns in found.items() if "number" in columns
    }


def _divergence(settings: Settings, admin: LakeFile, site: str, incarnation: str) -> dict[str, str]:
    """Return how lake.toml names a database file that the lake has a part of, from another directory: a restored backup.

    Its first messages are the same as those in the lake; from the first that differs on, it is another history.
    """
    if not settings.database.exists():
        return {}
    try:
        connection = open_read_only(settings.database)
    except StorageError as error:
        raise Unreachable(str(error), "stop what runs here (make down), and repeat this") from error
    with connection, _attached(admin, read_only=True) as lake:
        ((database,),) = connection.execute(_MADE).fetchall()
        sql = f"SELECT number, epoch_us(received_at) AS arrived_us FROM lake.main.{MESSAGES} WHERE site = ? AND incarnation = ?"
        forwarded = lake.execute(sql, [site, incarnation]).to_arrow_table()
        connection.register("forwarded", forwarded)
        same = f"SELECT max(number) FROM {MESSAGES} JOIN forwarded USING (number) WHERE epoch_us(received_at) = arrived_us"
        ((since,),) = connection.execute(same).fetchall()
    return {"database": str(database), "incarnation": secrets.token_hex(4), "since": str(since or 0)}


def _with_newest(session: Session, connection: duckdb.DuckDBPyConnection, lake: LakeFile, tables: list[str]) -> dict[str, str]:
    """Ask this site's recorder for what the lake does not have; return the SELECT of each table with these rows.

    What is forwarded meanwhile is left out of the lake's part: nothing is there twice.
    """
    from adapters.client.answers import arrow_request

    found: dict[str, str] = {}
    try:
        with session.query(arrow_request(f"SELECT ({_MADE})::VARCHAR AS made", {})) as answer:
            name = lake.name_of(str(answer.all_rows()[0]["made"]))
        own = f"site = {literal(lake.site)} AND incarnation = {literal(name)}"
        highest = connection.execute(f"SELECT max(number) FROM lake.main.{MESSAGES} WHERE {own}").fetchall()[0][0]
        upto = max(int(highest or 0), lake.first_of(name.partition("+")[0]))
        for table in tables:
            left_out = f" EXCLUDE ({', '.join(NOT_FORWARDED)})" if table == MESSAGES else ""
            statement = f"SELECT *{left_out} FROM {identifier(table)} WHERE number > {upto}"
            with session.query(arrow_request(statement, {})) as answer:
                schema, batches = answer.rows.batches()
                rows = pa.Table.from_batches(batches, schema)
                if answer.truncated:
                    raise Failed(f"{table} has too many new rows for one answer of the recorder")
            newest = identifier(f"newest_{table}")
            connection.register(f"newest_{table}", rows)
            found[table] = (
                f"SELECT * FROM lake.main.{identifier(table)} WHERE NOT ({own} AND number > {upto}) UNION ALL BY NAME "
                f"SELECT {literal(lake.site)} AS site, {literal(name)} AS incarnation, * FROM {newest}"
            )
    except (ClientError, StorageError) as error:
        warn(f"without this site's newest messages: {error}")
        return {}
    return found


def _repeated(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    """Run a statement that writers may interfere with, until it succeeds; return the number of its rows."""
    for tries in range(_TRIES):
        try:
            return len(connection.execute(sql).fetchall())
        except duckdb.Error as error:
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            if tries == _TRIES - 1 or "onflict" not in str(error):
                raise
            time.sleep(1)
    return 0


@contextmanager
def _attached(lake: LakeFile, **options: Any) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the lake; errors of DuckDB become those of the command line."""
    with _duckdb_errors():
        connection = ducklake.connect(lake, **options)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def _duckdb_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        text = str(error).strip().partition("\n")[0]
        if "Unable to connect to Postgres" in text:
            reason = text.rpartition("failed: ")[2]
            raise Unreachable(f"PostgreSQL cannot be reached: {reason}", "check that it runs") from error
        if "permission denied" in text:
            reason = text.rpartition("ERROR:")[2].strip()
            raise Refused(f"PostgreSQL: {reason}", "use the account that owns the lake") from error
        if isinstance(error, duckdb.HTTPException) or "HTTP" in text or "S3" in text:
            if any(each in text for each in ("403", "Forbidden", "AccessDenied", "InvalidAccessKey", "Signature")):
                raise Refused(f"the S3 store refused it: {text}", f"check {files.KEY} and {files.SECRET}") from error
            raise Unreachable(f"the S3 store cannot be used: {text}", "check address and bucket") from error
        raise Failed(f"the lake: {text}", "`scaup lake init` makes it, or brings back what is missing") from error
