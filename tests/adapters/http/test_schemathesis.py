"""The OpenAPI documents against the answers: no 500, and no answer that is not documented."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.energy_api.world import world
from tests.adapters.http.fakes import running, until
from tests.adapters.machine_api.world import served
from tests.real_broker import free_ports

OPTIONS = ("--phases=examples,coverage,fuzzing", "--mode=all", "--generation-deterministic", "--no-color")
NOT_IN_SCHEMA = "positive_data_acceptance"
"""A schema cannot describe a time, nor that a single value gives no interval."""


@pytest.mark.timeout(120)
def test_energy_api_answers_as_documented(tmp_path: Path) -> None:
    async def check() -> subprocess.CompletedProcess[str]:
        (port,) = free_ports(1)
        working = list[bool]()
        async with world(tmp_path, port) as made, running(made.api.serve(made, working.append)) as task:
            await until(lambda: (working and made.pings) or task.done())
            options = ("--max-examples=30", "--exclude-checks", NOT_IN_SCHEMA)
            return await asyncio.to_thread(schemathesis, port, tmp_path, *options)

    assert_no_issues(asyncio.run(check()))


@pytest.mark.timeout(120)
def test_machine_api_answers_as_documented(tmp_path: Path) -> None:
    async def check() -> subprocess.CompletedProcess[str]:
        async with served() as (port, _bus):
            return await asyncio.to_thread(schemathesis, port, tmp_path, "--max-examples=50")

    assert_no_issues(asyncio.run(check()))


def schemathesis(port: int, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("schemathesis"))
    command = [program, "run", f"http://127.0.0.1:{port}/openapi.json", *OPTIONS, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def assert_no_issues(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
