"""Files that a component writes."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole: after a crash it has its old or its new content. A symbolic link stays one.

    Raises:
        OSError: it cannot be written; it has its old content.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    with suppress(OSError):  # not every file system supports it
        os.fsync(descriptor)
    os.close(descriptor)
