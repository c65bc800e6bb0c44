"""The environment of the lake: a DuckDB of its own with its extensions, beside the one of the recorder.

Only what works on the lake uses it, before anything imports DuckDB: the extensions are there for one release.
"""

import subprocess
import sys
from pathlib import Path

from broker.errors import CannotStart
from broker.runtime.settings import ROOT

PACKAGES = Path(sys.prefix) / "central"
SETUP = ROOT / "bin" / "setup"


def enter(install: bool) -> None:
    """Put the packages of the lake before all others, after installing them if they are missing and `install` allows it.

    Raises:
        CannotStart: they are missing, or cannot be installed.
    """
    there = (PACKAGES / "psycopg").is_dir()
    if install and SETUP.is_file():
        done = subprocess.run([str(SETUP), "central"], stdout=sys.stderr, check=False)  # noqa: S603
        if done.returncode != 0 and not there:
            raise CannotStart("the packages of the lake cannot be installed: see above")
    if not (PACKAGES / "psycopg").is_dir():
        raise CannotStart("the packages of the lake are not installed: type `bin/setup central`")
    assert "duckdb" not in sys.modules, "another DuckDB was imported before"
    if str(PACKAGES) not in sys.path:
        sys.path.insert(0, str(PACKAGES))


def extension(name: str) -> Path:
    """Return the file of an extension of DuckDB.

    Raises:
        CannotStart: it is not installed.
    """
    found = sorted((PACKAGES / f"duckdb_extension_{name}").glob(f"extensions/*/{name}.duckdb_extension"))
    if not found:
        raise CannotStart(f"DuckDB's extension {name} is not installed: type `bin/setup central`")
    return found[-1]
