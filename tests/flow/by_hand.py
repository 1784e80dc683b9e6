"""`demo` without --script, as somebody at a terminal runs it: the lines to paste, and Ctrl-C at the end."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pexpect

__all__ = ["ByHand", "demo_by_hand", "say_yes"]

PATIENCE_S = 60.0


@dataclass(frozen=True)
class ByHand:
    """A running demo."""

    process: "subprocess.Popen[str]"
    engineer: str
    """The line that starts psql, as a shell takes it."""
    approver: str
    auditor: str
    show: str
    approve: str
    statement: str

    @property
    def config(self) -> Path:
        """The configuration that the lines name."""
        return Path(_found(r"--config (\S+)", self.auditor))

    @property
    def key(self) -> Path:
        """The approver's key."""
        return Path(_found(r"--key (\S+)", self.approve))

    @property
    def port(self) -> int:
        """Where the proxy listens."""
        return int(_found(r"-p ([0-9]+)", self.engineer))

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


def say_yes(line: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a line in a terminal, answer its question with yes, and return all that was shown."""
    shell = pexpect.spawn(
        "/bin/sh", ["-c", line], cwd=cwd, env=os.environ | (environment or {}),
        encoding="utf-8", timeout=PATIENCE_S, dimensions=(50, 200),
    )  # fmt: skip
    shell.expect(r"\[y/N\] ?")
    question = str(shell.before) + str(shell.after)
    shell.sendline("y")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0, shell.before
    return question + str(shell.before)


@contextlib.contextmanager
def demo_by_hand(
    command: Sequence[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[ByHand]:
    """Start a demo, wait for the lines that it prints, and end it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=cwd, env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            said = ""
            while "Ctrl-C ends everything." not in said:
                line = process.stdout.readline()
                assert line, f"the demo ended after {said!r}"
                said += line
            show, approve = (_found(rf"^  (.* {word} R-1 .*)$", said) for word in ("show", "approve"))
            people = {who: _found(rf"^  {who} +(.*)$", said) for who in ("engineer", "approver", "auditor")}
            yield ByHand(process, **people, show=show, approve=approve, statement=_found(r"^  (DELETE .*;)$", said))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"no {pattern} in {text!r}"
    return found[1]
