"""The served document against the served answers: no 500, and nothing that is not documented."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.machine_api.serving import served

OPTIONS = ("--phases=examples,coverage,fuzzing", "--mode=all", "--max-examples=50", "--generation-deterministic", "--no-color")


@pytest.mark.timeout(120)
def test_every_answer_is_a_documented_one(tmp_path: Path) -> None:
    async def check() -> subprocess.CompletedProcess[str]:
        async with served() as (port, _bus):
            return await asyncio.to_thread(schemathesis, port, tmp_path)

    done = asyncio.run(check())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout


def schemathesis(port: int, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{port}/openapi.json", *OPTIONS]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
