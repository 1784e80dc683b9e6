"""The story of `./run demo --script`: five acts, each a real program doing its real work, each checked.

A running stack enters; a transcript leaves on stdout. DemoFailed is raised at the first thing that is not as it
should be, so that reaching the end means that all of it happened.
"""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from pgnotary.demo.stack import DemoFailed, Stack

__all__ = ["DELETE", "tell"]

_PATIENCE_S = 30.0
DELETE = "DELETE FROM orders WHERE status = 'stale'"
_STALE = 1250
"""Every fortieth of 50,000 orders, as shop.sql makes them."""

Say = Callable[[str], None]


def tell(stack: Stack, say: Say) -> None:
    """Play the whole story."""
    _a_select_passes(stack, say)
    _a_delete_is_held_and_approved(stack, say)
    _the_ledger_verifies(stack, say)
    _one_changed_byte_is_found(stack, say)
    say("\nAll of it happened. Try it by hand: leave out --script.")


def _a_select_passes(stack: Stack, say: Say) -> None:
    say("\n# Eva, an engineer, reads. Harmless: answered at once.")
    printed = _psql(stack, "SELECT status, count(*) FROM orders GROUP BY status ORDER BY status", say)
    _expect(f"stale   |  {_STALE}" in printed, "the SELECT did not show the stale orders")


def _a_delete_is_held_and_approved(stack: Stack, say: Say) -> None:
    say("\n# Eva deletes. psql waits; nothing has been sent to the database for execution.")
    command, environment = stack.psql("-c", "SET pgnotary.reason = 'PAY-2210: purge stale orders'", "-c", DELETE)
    say(f'eva$ psql -c "{DELETE}"')
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as psql:
        try:
            digest = _wait_for_request(stack)
            _expect(_count(stack) == 50_000, "rows are gone although nobody has signed")
            say("\n# Bo, an approver, sees what would happen, on another terminal.")
            _pgnotary(stack, say, "requests")
            shown = _pgnotary(stack, say, "show", "R-1")
            _expect(
                DELETE in shown and str(_STALE) in shown.replace(",", ""),
                "the request does not show the statement and its rows",
            )
            say("\n# Bo signs with a key of their own.")
            _pgnotary(
                stack,
                say,
                "approve",
                f"R-1@{digest}",
                "-m",
                "backup b-771 is there",
                "--yes",
                "--key",
                str(stack.approver_key),
                "--heads",
                str(stack.heads),
            )
            printed, _ = psql.communicate(timeout=_PATIENCE_S)
        finally:
            psql.kill()
    say("\n# Eva's psql goes on:")
    say(printed.rstrip())
    _expect(
        psql.returncode == 0 and printed.rstrip().endswith(f"DELETE {_STALE}"), "psql did not end with the row count"
    )
    _expect(_count(stack) == 50_000 - _STALE, "the database does not agree with the row count")


def _the_ledger_verifies(stack: Stack, say: Say) -> None:
    say("\n# Anna, an auditor, checks all of it without trusting the proxy.")
    _pgnotary(stack, say, "verify", expected=0)
    _pgnotary(stack, say, "replay", "R-1", expected=0)


def _one_changed_byte_is_found(stack: Stack, say: Say) -> None:
    say("\n# Somebody changes one byte in a copy of the ledger: 1250 rows become 1260.")
    copy = stack.folder / "copy.db"
    seq = _change_one_byte(stack.folder / "ledger.db", copy)
    arguments = ("--ledger", str(copy), "--key", str(stack.folder / "proxy.vkey"))
    printed = _run(stack.pgnotary("verify", *arguments), say, "anna$ pgnotary verify --ledger copy.db", expected=1)
    _expect(f"#{seq}" in printed, f"verify did not name entry #{seq}")


def _change_one_byte(ledger: Path, copy: Path) -> int:
    """Copy a live ledger, change one digit in one entry, and return its number."""
    with sqlite3.connect(ledger) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    with sqlite3.connect(copy) as target:
        for (trigger,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            target.execute(f'DROP TRIGGER "{trigger}"')
        rows = target.execute("SELECT seq, raw FROM entry WHERE type = 'outcome'").fetchall()
        _expect(len(rows) == 1, f"expected one outcome in the ledger, found {len(rows)}")
        seq, raw = rows[0]
        target.execute("UPDATE entry SET raw = ? WHERE seq = ?", (raw.replace(b'"rows":1250', b'"rows":1260'), seq))
    source.close()
    target.close()
    return int(seq)


def _psql(stack: Stack, statement: str, say: Say) -> str:
    command, environment = stack.psql("-c", statement)
    return _run(command, say, f'eva$ psql -c "{statement}"', environment=environment)


def _count(stack: Stack) -> int:
    command, environment = stack.psql("-At", "-c", "SELECT count(*) FROM orders")
    return int(_run(command, lambda _: None, "", environment=environment))


def _pgnotary(stack: Stack, say: Say, word: str, *arguments: str, expected: int = 0) -> str:
    who = "anna" if word in ("verify", "replay") else "bo"
    hidden = ("--key", str(stack.approver_key), "--heads", str(stack.heads))
    shown = [argument for argument in (word, *arguments) if argument not in hidden]
    prompt = f"{who}$ pgnotary " + " ".join(f'"{each}"' if " " in each else each for each in shown)
    return _run(stack.pgnotary(word, *arguments, "--config", str(stack.config)), say, prompt, expected=expected)


def _run(
    command: list[str], say: Say, prompt: str, *, expected: int = 0, environment: dict[str, str] | None = None
) -> str:
    say(prompt)
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    say(done.stdout.rstrip())
    _expect(done.returncode == expected, f"{prompt}: exit {done.returncode}, expected {expected}: {done.stdout[-500:]}")
    return done.stdout


def _wait_for_request(stack: Stack) -> str:
    """Wait until the request is open and return the digest of its context in hex."""
    deadline = time.monotonic() + _PATIENCE_S
    command = stack.pgnotary("show", "R-1", "--json", "--config", str(stack.config))
    while time.monotonic() < deadline:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        if done.returncode == 0:
            return str(json.loads(done.stdout)["context"])
        time.sleep(0.1)
    raise DemoFailed(f"no request came up: {done.stderr[-500:]}")


def _expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence: expect this, or say that
    if not holds:
        raise DemoFailed(otherwise)
