"""Line numbers of the keys in a TOML text: `tomllib` reads values without them. Pure."""

import re

_HEADER = re.compile(r"\[{1,2}([^\]]*)\]")
_KEY = re.compile(r"""((?:[A-Za-z0-9_.\s-]|"[^"\n]*"|'[^'\n]*')+)=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")

Keys = tuple[str, ...]


class Lines:
    """The first line, counted from 1, of each key of a text, its tables included."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Keys, int] = {}
        table: Keys = ()
        for number, line in enumerate(map(str.strip, text.splitlines()), 1):
            if header := _HEADER.match(line):
                table = _parts(header[1])
                self._note(table, number)
            elif key := _KEY.match(line):
                self._note((*table, *_parts(key[1])), number)

    def of(self, *keys: str) -> int:
        """Return the line of a key, or of the nearest table around it; 1 if there is none."""
        for length in range(len(keys), 0, -1):
            if line := self._lines.get(keys[:length]):
                return line
        return 1

    @property
    def tables(self) -> list[Keys]:
        """The keys of two levels that the text has, `(KIND, NAME)`, also where it is no valid TOML."""
        return [keys for keys in self._lines if len(keys) == 2]

    def _note(self, keys: Keys, number: int) -> None:
        for length in range(1, len(keys) + 1):
            self._lines.setdefault(keys[:length], number)


def _parts(text: str) -> Keys:
    return tuple(double or single or bare for double, single, bare in _PART.findall(text))
