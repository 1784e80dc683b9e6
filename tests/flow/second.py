"""The second verifier as anybody runs it who has an export and knows the ledger's key: alone, in an empty place."""

import subprocess
import sys
from pathlib import Path

from tests.flow.served import Served

__all__ = ["verify_apart"]


def verify_apart(served: Served, export: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run what the export brings with it, without the package and whatever else is installed."""
    command = [sys.executable, "-I", "-S", export / "verify.py", export, "--key", served.folder / "proxy.vkey", *words]
    return subprocess.run(command, env={}, capture_output=True, text=True, check=False)
