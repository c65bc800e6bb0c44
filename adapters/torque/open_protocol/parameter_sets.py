"""Parameter sets of a tool: their numbers (MID 0011), their target torque (MID 0013), and which one a torque selects. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.torque.open_protocol.frames import Frame, number, numbered_fields

_SET_WIDTHS = (3, 25, 1, 2, 6, 6, 6, 5, 5, 5)
"""MID 0013, revision 1."""


LARGEST_NM = 10_000
"""More than six digits of hundredths hold."""


class NoSet(Exception):
    """No parameter set, or more than one, has the wanted torque; the text names the fix."""


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """A parameter set, and its final target in hundredths of a newton metre."""

    number: int
    name: str
    target_cnm: int


def set_numbers(frame: Frame) -> tuple[int, ...]:
    """Read the numbers of all parameter sets from MID 0011, revision 1.

    Raises:
        MalformedFrame: it does not have that form.
    """
    count = number(frame.data[:3], "the number of parameter sets")
    texts = [frame.data[start : start + 3] for start in range(3, 3 + 3 * count, 3)]
    return tuple(number(each, "the number of a parameter set") for each in texts)


def parameter_set(frame: Frame) -> ParameterSet:
    """Read one parameter set from MID 0013, revision 1.

    Raises:
        MalformedFrame: it does not have that form.
    """
    values = numbered_fields(frame.data, _SET_WIDTHS)
    return ParameterSet(number(values[0], "the number"), values[1].strip(), number(values[6].strip(), "the target torque"))


def same_torque(value_nm: float, cnm: int) -> bool:
    """Return whether a torque in N·m is the same as a tool's, in hundredths: the tool cuts off further decimals, or rounds."""
    return cnm in (round(100 * value_nm), int(100 * value_nm + 1e-6))


def choose(value_nm: float, given: Mapping[int, float], learned: Mapping[int, ParameterSet]) -> int:
    """Return the number of the set whose target is `value_nm`. Sets given in the setting come before learned ones.

    Raises:
        NoSet: there is none, or learned ones are ambiguous.
    """
    if not 0 < value_nm < LARGEST_NM:
        raise NoSet(f"no tool can be set to {value_nm:g} N·m")
    for each, target_nm in given.items():
        if abs(target_nm - value_nm) < 1e-6:
            return each
    found = [each.number for each in learned.values() if same_torque(value_nm, each.target_cnm)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(each) for each in found)
        raise NoSet(f"parameter sets {names} all have the target {value_nm:g} N·m: choose one, {_setting(found[0], value_nm)}")
    known = {**{each.number: each.target_cnm / 100 for each in learned.values()}, **given}
    listed = ", ".join(f"{each}: {target:g}" for each, target in sorted(known.items())) or "none"
    raise NoSet(f"no parameter set of the tool has the target {value_nm:g} N·m (set: target: {listed}): add one to the tool")


def _setting(chosen: int, value_nm: float) -> str:
    return f"with ?sets={chosen}:{value_nm:g} at the end of the tool's URL"
