"""Run the crash test: `python -m tests.crash --help`."""

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

import click

from tests.crash.causes import CAUSES
from tests.crash.table import markdown as markdown_table
from tests.crash.table import text
from tests.crash.trial import Cause, Options, Outcome, report, run


@click.command()
@click.option("--only", multiple=True, type=click.Choice([each.name for each in CAUSES]), help="This cause; may be repeated.")
@click.option("--kills", default=50, show_default=True, type=click.IntRange(1), help="Kills of the recorder.")
@click.option("--broker-kills", default=10, show_default=True, type=click.IntRange(1), help="Kills of the broker, per cause.")
@click.option("--messages", default=0, type=click.IntRange(0), help="Messages per cause at least, however soon it is over.")
@click.option("--seed", type=int, help="Repeat a run: the same kills after the same pauses.")
@click.option("--markdown", is_flag=True, help="Print the table for docs/recording.md.")
def main(only: tuple[str, ...], kills: int, broker_kills: int, messages: int, seed: int | None, markdown: bool) -> None:
    """Kill, freeze and starve a real broker and a real recorder under load; count what is lost and doubled.

    Exits with 1 if anything is lost or doubled by a cause that must not.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    options = Options(kills=kills, broker_kills=broker_kills, messages=messages, seed=_seed(seed))
    report(f"seed {options.seed}")
    folder = Path(tempfile.mkdtemp(prefix="scaup-crash-"))
    failed = True
    try:
        outcomes = [_trial(cause, options, folder) for cause in CAUSES if not only or cause.name in only]
        failed = any(each.failed for each in outcomes)
    finally:
        _clean_up(folder, failed)
    click.echo(markdown_table(outcomes) if markdown else text(outcomes))
    sys.exit(failed)


def _trial(cause: Cause, options: Options, folder: Path) -> Outcome:
    report(cause.name)
    outcome = run(cause, options, folder / cause.name)
    report(text([outcome]).partition("\n\n")[0])
    return outcome


def _seed(given: int | None) -> int:
    return time.time_ns() // 1_000_000 % 1_000_000 if given is None else given


def _clean_up(folder: Path, failed: bool) -> None:
    if failed:
        report(f"logs and databases: {folder}")
    else:
        shutil.rmtree(folder)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
