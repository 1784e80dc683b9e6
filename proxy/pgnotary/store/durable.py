"""A small file of a person's own that is either as it was or as it shall be, whatever fails in between.

Bytes and a path enter; when a call returns they are on the disk, under that name, for their owner alone; otherwise it
raises OSError.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["replace"]


def replace(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 beside `path`, sync it, and put it in its place; its folder must be there."""
    file, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(file, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(written.fileno())
        os.replace(name, path)  # noqa: PTH105 - two names
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - it is a name
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
