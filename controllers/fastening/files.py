"""The catalog's three files: all that the fastening controller reads from disk."""

from pathlib import Path

from broker.contract.fastening.topics import Catalog
from broker.log import Log
from controllers.fastening.catalog import InvalidCatalog, check_catalog
from controllers.fastening.entries import PARTS, SERIALS, STEPS

log = Log(__name__)

SHIPPED = Path(__file__).with_name("catalog")


def read_catalog(folder: str) -> Catalog:
    """Read and check the catalog in `folder`, the shipped one if that is empty; log what is incomplete.

    Raises:
        InvalidCatalog: a file cannot be read or used; the text names file, entry and field.
    """
    try:
        path = Path(folder).expanduser() if folder else SHIPPED
        files = {name: (path / name).read_bytes() for name in (SERIALS, PARTS, STEPS)}
    except OSError as error:
        wanted = f"the folder that SCAUP_TORQUE_CATALOG names must have {SERIALS}, {PARTS} and {STEPS}, readable"
        raise InvalidCatalog(f"{error.filename}: {error.strerror}: {wanted}") from error
    except RuntimeError as error:  # ~user of an unknown user
        raise InvalidCatalog(f"SCAUP_TORQUE_CATALOG: {folder}: {error}") from error
    checked = check_catalog(files, str(path))
    for each in checked.incomplete:
        log.error("catalog-unusable", "catalog: %(error)s", error=each)
    return checked.catalog
