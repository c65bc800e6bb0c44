"""What this console holds, and how it leaves it: the driver reset and the job ready to be resumed, or at least let go of."""

from contextlib import suppress

from adapters.cli.systems.fastening.dialogue import Dialogue, resume_command
from adapters.cli.systems.fastening.lines import hint
from adapters.cli.systems.fastening.request import Requests
from adapters.cli.systems.fastening.screen import Screen
from adapters.client.errors import ClientError
from broker.contract.fastening.topics import Action

FAREWELL_S = 2.0
PAUSED = "the job is paused and the driver is reset"
PAUSED_AWAY = "the job is paused, and the driver will be reset when it is connected"
NOT_PAUSED = "the fastening controller did not confirm that the job is paused"


class Hold:
    """The console's job from the moment it asks for one: `serial` is what it asked for."""

    def __init__(self, requests: Requests, dialogue: Dialogue, screen: Screen) -> None:
        self._requests, self._dialogue, self._screen = requests, dialogue, screen
        self.held = False
        self.serial = ""

    def begin(self, serial: str) -> None:
        """Note that a job is asked for: from here on it may be ours."""
        self.serial, self.held = serial, True

    def end(self) -> None:
        """Note that there is nothing to let go of."""
        self.held = False

    def pause(self) -> str:
        """Ask for a pause, never for that of another console's job, and say what became of it."""
        try:
            if not self._dialogue.attached and not self._is_ours():
                return NOT_PAUSED
            answer = self._requests.ask(Action.PAUSE, patience_s=FAREWELL_S)
        except ClientError:
            self.held = False  # the connection is of no use, and its end lets go of the job
            return NOT_PAUSED
        self.held = answer is None or answer.error is not None
        if answer is None or answer.error is not None:
            return NOT_PAUSED
        return PAUSED if answer.connected else PAUSED_AWAY

    def farewell(self, why: str) -> None:
        """Pause the job, if there is one, and say how to go on with it."""
        if not self.held:
            return
        said = self.pause()
        self._screen.show([hint(f"{why}: {said}. Go on with {resume_command(self.serial, self._dialogue.driver)}")])

    def let_go(self) -> None:
        """Leave the job to whoever comes, if it is still held."""
        if self.held:
            self.held = False
            with suppress(ClientError):
                self._requests.detach()

    def _is_ours(self) -> bool:
        """Ask whether the driver has this console's job, where nobody has said so since it was asked for."""
        answer = self._requests.ask(Action.ATTACH, patience_s=FAREWELL_S)
        return answer is not None and answer.error is None and answer.job is not None and answer.job.serial == self.serial
