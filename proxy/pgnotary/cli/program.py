"""How to call this command line again, from where it was called: for lines that people paste.

A word of a shell leaves, quoted where it must be. An installed `pgnotary` is called by its name if the PATH leads to
it; one that ./run prepared is called by that, relative only where it stands.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["program"]


def program() -> str:
    """Return what stands for `pgnotary` in a shell here."""
    environment = Path(sys.prefix)
    beside = environment.parent / "run"
    if environment.name == ".venv" and os.access(beside, os.X_OK):
        return "./run" if beside.parent == Path.cwd() else shlex.quote(str(beside))
    own = environment / "bin" / "pgnotary"
    on_path = shutil.which("pgnotary")
    if on_path is not None and Path(on_path).resolve() == own.resolve():
        return "pgnotary"
    if os.access(own, os.X_OK):
        return shlex.quote(str(own))
    return f"{shlex.quote(sys.executable)} -m pgnotary.cli"
