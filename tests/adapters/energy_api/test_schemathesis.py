"""The served document against the served answers: no 500, and nothing that is not documented."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.energy_api.world import world
from tests.adapters.http.fakes import running, until
from tests.real_broker import free_ports

OPTIONS = ("--phases=examples,coverage,fuzzing", "--mode=all", "--max-examples=30", "--generation-deterministic", "--no-color")
NOT_SAID = "positive_data_acceptance"
"""A schema cannot say what a time is, nor that a single value tells no interval."""


@pytest.mark.timeout(120)
def test_every_answer_is_a_documented_one(tmp_path: Path) -> None:
    async def check() -> subprocess.CompletedProcess[str]:
        (port,) = free_ports(1)
        working = list[bool]()
        async with world(tmp_path, port) as made, running(made.api.serve(made, working.append)) as task:
            await until(lambda: (working and made.pings) or task.done())
            return await asyncio.to_thread(schemathesis, port, tmp_path)

    done = asyncio.run(check())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout


def schemathesis(port: int, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{port}/openapi.json", *OPTIONS]
    command += ["--exclude-checks", NOT_SAID]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
