"""Standard streams that are closed, full or broken: for every command, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.reference import commands
from broker.runtime.settings import ROOT
from tests.adapters.cli.recording import SavedRecording

pytestmark = pytest.mark.timeout(300)
HELP = [[*path.split()[1:], "--help"] for path, _ in commands()]
RESULTS = [
    *(["query", "SELECT 1", "-o", each] for each in ("table", "csv", "json", "jsonl", "parquet", "markdown")),
    ["query", "SELECT range FROM range(100000)"],
    ["--version"],
    ["completion", "bash"],
    ["config"],
    ["doctor"],
    ["export"],
    ["last"],
    ["tables"],
    ["tail"],
    ["topics"],
    ["verify"],
]
"""Commands that write a result about a database file, without a broker."""
STEADY = [each for each in RESULTS if each != ["doctor"]]
"""Those that write the same each time."""
WITHOUT = [
    ["status"],
    ["torque"],
    ["torque", "run"],
    ["chargers"],
    ["gaps"],
    ["energy", "import", "nothing.csv"],
    ["nothing"],
    ["query", "-"],
]
"""Commands that end with an error, or that write nothing but hints."""

PROGRAM = """
import json, os, sys, tempfile
import duckdb, pyarrow.parquet  # once, before the forks
from adapters.cli.main import cli

fault, done = sys.argv[1], []
for arguments in json.load(sys.stdin):
    streams = [tempfile.TemporaryFile() for _ in range(2)]
    if (process := os.fork()) == 0:
        for descriptor, file in enumerate(streams, 1):
            os.dup2(file.fileno(), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        number = {"out": 1, "err": 2, "in": 0}[fault.split()[0]]
        name = ("stdin", "stdout", "stderr")[number]
        if fault.endswith("full"):
            os.dup2(os.open("/dev/full", os.O_WRONLY), number)
        elif fault.endswith("closed"):  # as Python starts then
            os.close(number)
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
        try:
            cli(arguments)
        except SystemExit as end:
            try:
                for each in (sys.stdout, sys.stderr):
                    each.flush()
            except OSError:
                os._exit(120)
            os._exit(end.code or 0)
        except BaseException:
            import traceback
            os.write(streams[1].fileno(), traceback.format_exc().encode())
            os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    for each in streams:
        each.seek(0)
    done.append([arguments, code, *(each.read().decode("utf-8", "replace") for each in streams)])
print(json.dumps(done))
"""
"""Runs each command in a fork, with a standard stream that is closed or full."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    recording = SavedRecording(folder)
    for number in range(3):
        recording.add("/readings/room-1/temperature", b'{"sensorID":"s","type":"temperature","value":2%d}' % number)
    recording.add("heating/room-1/state", b"{}", source="heating", boot="b", seq="1")
    recording.save()
    return folder


def ended(folder: Path, fault: str, arguments: list[list[str]]) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, fault],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin", "SCAUP_MQTT_PORT": "1", "SCAUP_DATA_DIR": str(folder)},
        check=True,
        timeout=280,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("fault", "text"), [("out full", "No space left on device"), ("out closed", "Bad file descriptor")])
def test_result_that_cannot_be_written_is_an_error(folder: Path, fault: str, text: str) -> None:
    for arguments, code, _, stderr in ended(folder, fault, [*(HELP if fault == "out full" else []), *RESULTS]):
        assert (code, f"Error: standard output cannot be written: {text}\nFix: " in stderr) == (1, True), (
            arguments,
            code,
            stderr,
        )
        assert "Traceback" not in stderr, arguments


@pytest.mark.parametrize("fault", ["out full", "out closed", "err full", "err closed", "in closed"])
def test_other_ends_of_a_command_stay(folder: Path, fault: str) -> None:
    usual = ended(folder, "in same", WITHOUT)
    for before, after in zip(usual, ended(folder, fault, WITHOUT), strict=True):
        shown = before[3] if not fault.startswith("err") else ""
        assert after == [before[0], before[1], "", shown], (before, after)


@pytest.fixture(scope="module")
def usual(folder: Path) -> list[Any]:
    return ended(folder, "in same", STEADY)


@pytest.mark.parametrize("fault", ["err full", "err closed", "in closed"])
def test_results_need_no_other_stream(folder: Path, usual: list[Any], fault: str) -> None:
    for before, after in zip(usual, ended(folder, fault, STEADY), strict=True):
        assert after[1] == before[1], (before, after)
        assert (after[2] == before[2]) or before[0][-1] == "parquet", (before, after)
