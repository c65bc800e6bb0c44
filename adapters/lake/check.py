"""Check this site's access to the lake: `python -m adapters.lake.check` prints what is wrong and the fix, or that it is well.

A process of its own, for `scaup doctor`, because the packages of the lake are not for every process.
"""

import json
import sys

from adapters.client.errors import ClientError
from adapters.lake import central, files
from broker.errors import BusError
from broker.runtime.settings import Settings


def check(settings: Settings) -> tuple[bool, str, str]:
    """Return whether the lake can be used, what was found, and the fix."""
    lake = files.read(settings.lake_file)
    central.enter(install=False)
    from adapters.lake.binding import Binding
    from adapters.lake.catalog import Catalog, reported

    with reported(), Catalog(lake) as catalog:
        row = catalog.row(lake.site)
    if row is None or row.binding is None:
        return False, f"site {lake.site} is not in the catalog", "`scaup lake join` again"
    if row.binding != Binding.of(settings.data_dir):
        return False, f"this is a copy of the data directory {row.binding.place}", "`scaup lake join --takeover`, or `leave`"
    if not row.has_trigger:
        return False, "the trigger scaup_forward is missing in the catalog: nothing is forwarded", "repeat `scaup lake init`"
    return True, f"site {lake.site}, forwarded up to message {row.upto:,}, trigger in place", ""


def main() -> None:
    """Print the finding as JSON."""
    try:
        found = check(Settings.load())
    except ClientError as error:
        found = (False, error.message, error.fix)
    except BusError as error:
        found = (False, str(error), "see docs/lake.md")
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
