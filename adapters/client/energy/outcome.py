"""The outcome of posting a file: what was stored, skipped and refused, each at its place in the file."""

import re
from dataclasses import dataclass, field

from adapters.client.energy.files import FilePost
from broker.contract.energy.topics import Stored

_ROW = re.compile(r"data\[(\d+)\]")


@dataclass(slots=True)
class Outcome:
    """The outcome for a file: the number of values stored, and a text for each value skipped and each post refused."""

    stored: int = 0
    skipped: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def add(self, post: FilePost, answer: Stored) -> None:
        """Count the answer to a piece."""
        if answer.error is not None:
            self.refused.append(_placed(post, answer.error))
        self.stored += answer.stored
        self.skipped += [f"{post.where(each.index)}: {each.reason}" for each in answer.skipped]


def _placed(post: FilePost, error: str) -> str:
    """Return an error with the row of the file instead of the row of the piece."""
    text = _ROW.sub(lambda found: f"data[{post.first_row + int(found[1])}]", error) if post.rows == "row" else error
    found = _ROW.search(error)
    where = post.where(int(found[1])) if found else f"{post.path.name}, {post.place}from {post.rows} {post.number(0)} on"
    return f"{where}: {text}"
