"""The files with which sites reach the lake, in TOML.

`scaup lake init` prints the site file: catalog, store, endpoint, region. `scaup lake join` makes lake.toml of it, with the
name of the site, its own account of PostgreSQL, and its key of the store.
"""

import os
import re
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from adapters.client.errors import WrongUsage
from broker.launch.credentials import write_private

SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
REGION = "us-east-1"
PASSWORD, KEY, SECRET = "PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeFile:
    """How a site reaches the lake; without `site`, what every site may know.

    After a takeover the file `database` is another one for the lake, `incarnation` is part of its name there, and the lake has
    its messages up to `since` already.
    """

    catalog: str
    store: str
    endpoint: str = ""
    region: str = REGION
    site: str = ""
    account: str = ""
    password: str = ""
    access_key: str = ""
    secret_key: str = ""
    database: str = ""
    incarnation: str = ""
    since: str = ""

    @property
    def bucket(self) -> str:
        """The store's bucket."""
        return urlsplit(self.store).netloc

    def name_of(self, database: str) -> str:
        """Return the name of a database file's messages in the lake."""
        return f"{database}+{self.incarnation}" if self.incarnation and database == self.database else database

    def first_of(self, database: str) -> int:
        """Return how many messages of a database file the lake has from before it was taken over."""
        return int(self.since or 0) if self.incarnation and database == self.database else 0

    @property
    def as_administrator(self) -> "LakeFile":
        """The same lake with what the environment has: an administrator's password, a key of the whole store."""
        return replace(
            self,
            account="",
            password=os.environ.get(PASSWORD, ""),
            access_key=os.environ.get(KEY) or self.access_key,
            secret_key=os.environ.get(SECRET) or self.secret_key,
        )

    def text(self) -> str:
        """Return it as TOML, without what is empty."""
        return "".join(f"{name} = {_quoted(value)}\n" for name, value in asdict(self).items() if value)


def new_lake(catalog: str, store: str, endpoint: str, region: str) -> tuple[LakeFile, str]:
    """Return a lake at these addresses, and the password that the catalog's address has, else that of the environment.

    Raises:
        WrongUsage: one of them cannot be used.
    """
    parts = _parsed(catalog)
    password = parts.password or os.environ.get(PASSWORD, "")
    place = parts.netloc.rpartition("@")[2]
    public = urlunsplit(parts._replace(netloc=f"{parts.username}@{place}", scheme="postgresql"))
    where = urlsplit(store)
    if where.scheme != "s3" or not where.netloc:
        raise WrongUsage(f"the store {store!r} is not s3://BUCKET/PREFIX", "name an existing bucket, and a prefix in it")
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        raise WrongUsage(f"the endpoint {endpoint!r} is no address", "for example --endpoint http://127.0.0.1:9000")
    lake = LakeFile(catalog=public, store=store.rstrip("/"), endpoint=endpoint, region=region)
    return replace(lake, access_key=os.environ.get(KEY, ""), secret_key=os.environ.get(SECRET, "")), password


def read(path: Path) -> LakeFile:
    """Read a site file or lake.toml.

    Raises:
        WrongUsage: it cannot be read, or has something else.
    """
    try:
        values = tomllib.loads(path.read_text())
        found = LakeFile(**values)
        _parsed(found.catalog)
    except FileNotFoundError as error:
        raise WrongUsage(f"there is no {path}", "type `scaup lake join site.toml --site NAME` first") from error
    except OSError as error:
        raise WrongUsage(f"{path} cannot be read: {error.strerror}", "read it as its owner") from error
    except (tomllib.TOMLDecodeError, TypeError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{path} is not what `scaup lake init` or `join` wrote: {error}", "make it again") from error
    return found


def write(path: Path, lake: LakeFile) -> None:
    """Write lake.toml, for this user only."""
    write_private(path, lake.text())


def _parsed(catalog: str):  # type: ignore[no-untyped-def]
    parts = urlsplit(catalog)
    if parts.scheme not in ("postgresql", "postgres") or not parts.username or not parts.path.strip("/"):
        raise WrongUsage(
            f"the catalog {catalog.rpartition('@')[2]!r} is not postgresql://USER@HOST:PORT/DATABASE", "name it so"
        )
    return parts


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
