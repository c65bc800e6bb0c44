"""Causes of loss, one function each: it does the harm while publishers publish, and returns how often."""

import subprocess

from tests.crash.child import Child, until
from tests.crash.count import STRAGGLERS_S
from tests.crash.disk import MIB, SmallDisk
from tests.crash.errors import Broken
from tests.crash.trial import Cause, Load, Trial, report
from tests.crash.world import ANSWER_S, logged

KEEP_ALIVE_ENDS_S = 17.0
"""Longer than 1.5 times the recorder's keep-alive: the broker ends a connection that is silent for so long."""
FRESH_BACKOFF = 4
"""Broker kills after which the recorder is restarted: with each kill its pauses before reconnecting grow."""
FLOOR_MB = 8
CONNECTED = "as scaup-recorder"
"""The recorder logs it when its recording session is connected."""
CATCHING_UP_S, KEEPING_UP_S = (0.0, 0.2), (0.3, 1.5)
"""Ranges of seconds after that, roughly."""


def kill_recorder(trial: Trial) -> int:
    """SIGKILL, in turn: at a random moment after its start, while it drains its queue, and while it keeps up."""
    recorder, logged_before = trial.world.recorder, 0
    caught = 0
    for kill in range(1, trial.options.kills + 1):
        if kill % 3 == 0:
            trial.pause(0.0, 2.0)
        else:
            caught += logged(recorder, CONNECTED, 5.0, logged_before)
            trial.pause(*(CATCHING_UP_S if kill % 3 == 1 else KEEPING_UP_S))
        _still_runs(recorder)
        logged_before = len(recorder.log())
        recorder.kill()
        recorder.start()
        if kill % 10 == 0:
            report(f"  {kill} kills")
    trial.notes.append(f"{caught} kills came shortly after the recorder had connected")
    return trial.options.kills


def kill_broker(trial: Trial) -> int:
    """SIGKILL while the recorder keeps up."""
    for kill in range(1, trial.options.broker_kills + 1):
        trial.pause(0.5, 3.5)
        _kill_and_start_broker(trial)
        if kill % FRESH_BACKOFF == 0:
            trial.world.restart_recorder()
        trial.world.wait_until_recording()
        report(f"  {kill} kills")
    return trial.options.broker_kills


def kill_broker_without_recorder(trial: Trial) -> int:
    """SIGKILL while the recorder is stopped: messages acknowledged after the last save are lost."""
    kills = _half(trial.options.broker_kills)
    for kill in range(1, kills + 1):
        trial.world.recorder.terminate()
        trial.pause(1.0, 4.0)
        _kill_and_start_broker(trial)
        trial.world.recorder.start()
        trial.world.wait_until_recording()
        report(f"  {kill} kills")
    return kills


def kill_broker_while_draining(trial: Trial) -> int:
    """SIGKILL while the recorder drains its queue: the last save still has all of it as undelivered."""
    kills = _half(trial.options.broker_kills)
    for kill in range(1, kills + 1):
        trial.world.recorder.terminate()
        trial.pause(2.5, 4.0)
        logged_before = len(trial.world.recorder.log())
        trial.world.recorder.start()
        logged(trial.world.recorder, CONNECTED, 10.0, logged_before)
        trial.pause(0.0, 1.0)
        _kill_and_start_broker(trial)
        trial.world.wait_until_recording()
        report(f"  {kill} kills")
    return kills


def freeze_recorder(trial: Trial) -> int:
    """SIGSTOP for some seconds, once until the broker ends the connection."""
    freezes = [trial.random.uniform(1.0, 4.0) for _ in range(3)] + [KEEP_ALIVE_ENDS_S]
    return _freeze(trial, trial.world.recorder, freezes)


def freeze_broker(trial: Trial) -> int:
    """SIGSTOP for some seconds."""
    return _freeze(trial, trial.world.broker, [trial.random.uniform(1.0, 5.0) for _ in range(4)])


def freeze_broker_once(trial: Trial, seconds: float) -> int:
    """SIGSTOP once."""
    return _freeze(trial, trial.world.broker, [seconds])


def restart_broker(trial: Trial) -> int:
    """SIGTERM and start: the broker saves everything."""
    restarts = 5
    for restart in range(1, restarts + 1):
        trial.pause(0.5, 2.0)
        trial.world.broker.terminate()
        trial.pause(0.0, 0.5)
        trial.world.start_broker()
        trial.world.wait_until_recording()
        report(f"  {restart} restarts")
    return restarts


def mix(trial: Trial) -> int:
    """Do one or two of these at a time, in random order, mostly without waiting for the recorder in between."""
    world, times = trial.world, max(1, trial.options.kills // 3)
    for time in range(1, times + 1):
        trial.pause(0.0, 1.5)
        _still_runs(world.recorder)
        trial.random.choice(_MIXED)(trial)
        if time % 8 == 0:
            world.wait_until_recording()
            report(f"  {time} times")
    return times


def fill_disk(trial: Trial) -> int:
    """Fill the disk below the floor of free space, then completely; kill the recorder meanwhile."""
    disk = trial.disk
    if disk is None:
        raise Broken("fill_disk needs a separate disk: give its cause a disk_mb")
    _reach_the_floor(trial, disk)
    kills = _leave_nothing(trial, disk)
    disk.free()
    _supervise(trial.world.recorder, 3.0)
    trial.world.wait_until_recording()
    return kills


def start_second_recorder(trial: Trial) -> int:
    """Start a second recorder on the same database: it must exit and name the first."""
    trial.pause(0.5, 1.0)
    first = trial.world.recorder
    command = [str(part) for part in first.command]
    second = subprocess.run(
        command, cwd=first.directory, env=first.environment, capture_output=True, text=True, timeout=ANSWER_S, check=False
    )
    last_line = second.stderr.strip().splitlines()[-1:]
    if second.returncode == 0 or str(first.pid) not in second.stderr:
        raise Broken(f"a second recorder ended with {second.returncode} and did not name process {first.pid}: {last_line}")
    _still_runs(first)
    trial.pause(0.5, 1.0)
    trial.notes.append(f"the second recorder logged: {last_line[0].partition('ERROR ')[2]}")
    return 0


def _half(kills: int) -> int:
    return (kills + 1) // 2


def _kill_and_restart_recorder(trial: Trial) -> None:
    trial.world.recorder.kill()
    trial.world.recorder.start()


def _kill_frozen(trial: Trial) -> None:
    trial.world.recorder.freeze()
    trial.pause(0.5, 2.0)
    _kill_and_restart_recorder(trial)


def _restart_broker(trial: Trial) -> None:
    trial.world.broker.terminate()
    trial.world.start_broker()


def _restart_broker_while_frozen(trial: Trial) -> None:
    trial.world.recorder.freeze()
    trial.pause(0.1, 1.0)
    _restart_broker(trial)
    trial.pause(0.0, 0.5)
    trial.world.recorder.thaw()


def _kill_and_restart_broker(trial: Trial) -> None:
    trial.world.recorder.kill()
    _restart_broker(trial)
    trial.world.recorder.start()


_MIXED = (_kill_and_restart_recorder, _kill_frozen, _restart_broker, _restart_broker_while_frozen, _kill_and_restart_broker)


def _kill_and_start_broker(trial: Trial) -> None:
    trial.world.kill_broker()
    trial.pause(STRAGGLERS_S, 0.5)
    trial.world.start_broker()


def _freeze(trial: Trial, child: Child, freezes: list[float]) -> int:
    for seconds in freezes:
        trial.pause(0.3, 1.0)
        child.freeze()
        trial.pause(seconds, seconds)
        child.thaw()
        trial.world.wait_until_recording()
        report(f"  frozen for {seconds:.1f} s")
    return len(freezes)


def _reach_the_floor(trial: Trial, disk: SmallDisk) -> None:
    recorder = trial.world.recorder
    trial.pause(0.5, 1.0)
    disk.fill(FLOOR_MB * MIB // 2)
    if not logged(recorder, "make room", 10):
        raise Broken(f"the recorder did not notice that its floor of free space was reached; its log: {recorder.log_file}")
    report("  below the floor of free space")
    trial.pause(1.0, 2.0)
    disk.free()
    trial.world.wait_until_recording()


def _leave_nothing(trial: Trial, disk: SmallDisk) -> int:
    """Leave a little more than the smallest floor (1 MiB), let a larger backlog arrive at once, then leave nothing.

    Whether the guard notices first or DuckDB runs out of space depends on the size of the first batch.
    """
    recorder = trial.world.recorder
    recorder.terminate()
    recorder.environment = {**recorder.environment, "SCAUP_MIN_FREE_MB": "1"}
    recorder.start()
    trial.world.wait_until_recording()
    logged_before = len(recorder.log())
    recorder.freeze()
    trial.pause(3.0, 3.0)
    disk.fill(MIB + MIB // 8)
    recorder.thaw()
    if not logged(recorder, "not acknowledging", 10, logged_before):
        raise Broken(f"the recorder did not notice that the disk is full; its log: {recorder.log_file}")
    disk.fill(0)
    last_line = next(each for each in recorder.log()[logged_before:].splitlines() if "not acknowledging" in each)
    trial.notes.append(f"on the full disk the recorder logged: {last_line.partition('ERROR ')[2]}")
    report("  no space left")
    return _kill_on_full_disk(trial)


def _kill_on_full_disk(trial: Trial) -> int:
    kills = 3
    exits = 0
    for _ in range(kills):
        trial.pause(0.5, 1.5)
        exits += _supervise(trial.world.recorder, 0)
        trial.world.recorder.kill()
        trial.world.recorder.start()
    exits += _supervise(trial.world.recorder, 3.0)
    trial.notes.append(f"on the full disk the recorder was killed {kills} times and exited by itself {exits} times")
    return kills


_MOST_RESTARTS = 5


def _supervise(recorder: Child, seconds: float) -> int:
    """Restart it whenever it ends, as the supervisor does; return how often."""
    exits = 0
    while exits < _MOST_RESTARTS and until(lambda: not recorder.runs, seconds):
        exits += 1
        recorder.start()
        if not seconds:
            break
    return exits


def _still_runs(recorder: Child) -> None:
    if not recorder.runs:
        raise Broken(f"the recorder ended by itself with exit code {recorder.exit_code}; its log: {recorder.log_file}")


CAUSES = (
    Cause(name="recorder-kill", inflict=kill_recorder, load=Load(rate=5_000)),
    Cause(name="broker-kill", inflict=kill_broker, exact=False),
    Cause(name="broker-kill-recorder-down", inflict=kill_broker_without_recorder, exact=False),
    Cause(name="broker-kill-draining", inflict=kill_broker_while_draining, exact=False),
    Cause(name="recorder-freeze", inflict=freeze_recorder),
    Cause(name="broker-freeze", inflict=freeze_broker),
    Cause(name="broker-restart", inflict=restart_broker),
    Cause(name="mixed", inflict=mix),
    Cause(
        name="disk-full",
        inflict=fill_disk,
        load=Load(rate=1_500, padding=500),
        disk_mb=128,
        recorder_settings={"SCAUP_MIN_FREE_MB": str(FLOOR_MB)},
    ),
    Cause(name="two-recorders", inflict=start_second_recorder),
)
