"""The page docs/ledger-format.md followed by hand: its commands run over an export, in an empty environment.

A folder with `evidence` and `known` enters; for each block of commands what the page says and what was printed leave.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Step", "by_hand", "needs_the_tools", "put_beside"]

PAGE = Path(__file__).parents[2] / "docs" / "ledger-format.md"
_STEPS = re.compile(r"```sh\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)

needs_the_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("ssh-keygen", "sha256sum", "basenc"))), reason="needs ssh-keygen and the GNU coreutils"
)


@dataclass(frozen=True)
class Step:
    """One block of commands."""

    commands: str
    says: list[str]
    """The lines that the page says will be printed; what follows them is like them."""
    printed: list[str]

    @property
    def is_as_told(self) -> bool:
        """Whether everything is as the page says: each of its lines, and no line that is like none of them."""
        patterns = [re.escape(line).replace(r"\.\.\.", ".*") for line in self.says]
        if len(self.printed) < len(self.says) or not self.printed:
            return False
        found = [next((n for n, each in enumerate(patterns) if re.fullmatch(each, line)), -1) for line in self.printed]
        return found[: len(patterns)] == [*range(len(patterns))] and -1 not in found


def put_beside(folder: Path, *, key: str, roster: str, head: str, verifier: bytes) -> None:
    """Write what somebody knows from elsewhere beside the evidence in a folder."""
    known = folder / "known"
    known.mkdir()
    for name, content in (("proxy.vkey", key + "\n"), ("allowed_signers", roster), ("head", head)):
        (known / name).write_text(content)
    (known / "verify.py").write_bytes(verifier)


def by_hand(folder: Path) -> list[Step]:
    """Run every block of the page, in its order; nothing of ours is in reach but what lies in the folder."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## By hand\n")[2]
    # A Python that may be the only one that is new enough, without what is installed beside it.
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    if not (path / "python3").exists():
        (path / "python3").symlink_to(os.path.realpath(sys.executable))
    steps = []
    for commands, says in _STEPS.findall(section):
        ran = subprocess.run(
            ["env", "-i", f"PATH={path}:/usr/bin:/bin", "sh", "-u"],
            cwd=folder,
            input=commands,
            capture_output=True,
            text=True,
            check=False,
        )
        steps.append(Step(commands, says.splitlines(), ran.stdout.splitlines() + ran.stderr.splitlines()))
    return steps
