"""The user without privileges that a child of root becomes: who is root is stopped by no permission."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["NOBODY", "become_nobody", "reachable_folder"]

NOBODY = 65534


def become_nobody() -> None:
    """Give up root's rights for good, if we have them."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """Lend a folder that NOBODY can reach, wherever our own temporary files are; its mode is 0700."""
    folder = Path(tempfile.mkdtemp(dir="/tmp" if os.geteuid() == 0 else None))
    try:
        yield folder
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
