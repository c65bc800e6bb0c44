"""The lake of a site that is joined: whether the catalog answers, has the trigger, and this data directory is the site's."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from adapters.launcher.checks import Finding, failed, ok
from broker.runtime.settings import ROOT, Settings

_TIMEOUT_S = 30.0


def check_lake(settings: Settings) -> Iterator[Finding]:
    """Check in a process that has the packages of the lake; nothing for a site that is not joined."""
    if not settings.lake_file.exists():
        return
    environment = {**os.environ, **settings.environment}
    command = [sys.executable, "-m", "adapters.lake.check"]
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
        well, detail, fix = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        yield failed("lake", f"could not be checked: {error}", "see `scaup logs lake-forwarder`")
        return
    yield ok("lake", detail) if well else failed("lake", detail, fix)
