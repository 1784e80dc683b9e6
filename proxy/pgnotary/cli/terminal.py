"""How wide a terminal is. A stream enters, its columns leave, or None if it is no terminal."""

import os
from typing import TextIO

__all__ = ["terminal_columns"]

_USUAL = 80


def terminal_columns(stream: TextIO) -> int | None:
    """Return the columns of the terminal behind `stream`: of this one, which need not be that of stdout."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError):
        return _USUAL
