"""`scaup torque` alone: a menu for somebody who types nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.cli.notices import CommandFailed, hint
from adapters.cli.systems.fastening.keyboard import Keyboard
from adapters.client.errors import ClientError
from broker.errors import BusError


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the menu; without an action it ends the menu."""

    text: str
    act: Callable[[], None] | None = None


def show_menu(choices: Sequence[Choice], keyboard: Keyboard) -> None:
    """Offer the choices until one that ends the menu, or the input, comes. What goes wrong in one is said, and ends only it."""
    while True:
        for number, each in enumerate(choices, start=1):
            hint(f"{number} {each.text}")
        if (line := ask_line(f"Choose (1-{len(choices)}):", keyboard)) is None:
            return
        chosen = chosen_from(choices, line)
        if isinstance(chosen, str):
            hint(chosen)
        elif chosen.act is None:
            return
        else:
            _try(chosen.act)
        hint("")


def ask_line(question: str, keyboard: Keyboard) -> str | None:
    """Ask for a line that is not blank; None where the input ends."""
    while True:
        hint(question)
        try:
            line = (keyboard.line(None) or "").strip()
        except EOFError:
            return None
        if line:
            return line


def chosen_from(choices: Sequence[Choice], line: str) -> Choice | str:
    """Return the choice that was typed, by its number or by how its text begins; or what is wrong with the line."""
    wanted = line.strip().casefold()
    found = [(n, each) for n, each in enumerate(choices, start=1) if wanted in (str(n), each.text[:1].casefold())]
    found = found or [(n, each) for n, each in enumerate(choices, start=1) if each.text.casefold().startswith(wanted)]
    if len(found) == 1:
        return found[0][1]
    if not found:
        return f"{line!r} is not in the menu: type a number from 1 to {len(choices)}, or a first letter."
    return f"{line!r} may be {' or '.join(f'{n} {each.text}' for n, each in found)}: type the number."


def _try(act: Callable[[], None]) -> None:
    try:
        act()
    except ClientError as error:
        CommandFailed(error).show()
    except BusError as error:
        hint(f"Error: {error}")
