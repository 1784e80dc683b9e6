"""docs/scripts.md is true: each command that it names prints JSON, with the names that the page promises.

A request that waits and one that has ended are asked of an office; what has been recorded, of an export.
"""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.approval.office import SEEDS, key_file, public_of
from tests.cli.office import Desk, office
from tests.pages import PAGES, Page, run
from tests.verify.builder import VKEY as LEDGER_KEY
from tests.verify.builder import Ledger, one_approval

from pgnotary.audit.export import export_folder
from pgnotary.request.life import State
from pgnotary.request.roster import Signer

PAGE = "scripts.md"
TEXT = PAGES[PAGE].read_text(encoding="utf-8")


def promised(command: str) -> set[str]:
    """Return the names that the table promises of a command's JSON."""
    rows = [line.split(" | ", 1) for line in TEXT.split("## JSON")[1].splitlines() if line.startswith("| `")]
    (said,) = [said for commands, said in rows if f"`{command}`" in commands]
    return set(re.findall(r"`([a-z0-9_]+)`", said)) - {"null", "show"}


def names(value: Any) -> set[str]:
    """Return every name in a JSON value, however deep."""
    if isinstance(value, list):
        return {name for each in value for name in names(each)}
    return {name for key, each in value.items() for name in (key, *names(each))} if isinstance(value, dict) else set()


def furnish(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a key, a roster and a list of ledgers where they are looked for."""
    monkeypatch.chdir(desk.folder)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    home = desk.folder / ".config" / "pgnotary"
    home.mkdir(parents=True)
    key_file(desk.folder, "eva").rename(home / "id_ed25519")
    (desk.folder / ".ssh").mkdir()
    (desk.folder / ".ssh" / "id_ed25519").write_text("no key")
    (home / "config.toml").write_text(
        '[ledger.prod]\nserver = "https://db.example:7443"\n'
        'ca_file = "ca.pem"\nproxy_key = "prod.vkey"\nkey = "a.pub"\n'
        f'[ledger.here]\nsocket = "{desk.socket}"\n'
    )
    (desk.folder / "pgnotary.toml").write_text("")


async def test_what_waits_and_who_decides(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office() as desk:
        furnish(desk, monkeypatch)
        asked, shown = desk.ledger.hold("R-1")
        desk.desk.announce(asked, shown, lambda _: desk.desk.retire("R-1", State.WITHDRAWN))
        desk.hold("R-2")
        desk.desk.retire("R-2", State.DENIED)
        made = await desk.run(*page.take("key show --json").words(), "--person", "eva")
        assert json.loads(made.stdout)["line"].startswith("eva namespaces=")
        (desk.folder / "allowed_signers").write_text(json.loads(made.stdout)["line"] + "\n")
        with (desk.folder / "allowed_signers").open("a") as roster:
            between = 'valid-after="20260101Z",valid-before="20260102Z"'
            roster.write(f"{Signer('bo', public_of(SEEDS['bo'])).line.replace(' ', f' {between} ', 1)}\n")
        printed = {"key show --json": json.loads(made.stdout)}
        for command, status in (
            ("requests --json", 0), ("show ID --json", 0), ("wait ID --json", 3), ("withdraw ID --json", 0),
            ("key list --json", 0), ("approvers list --json", 0), ("ledgers --json", 0),
        ):  # fmt: skip
            name = {"ID": "R-2" if status else "R-1"} if " ID " in command else {}
            done = await desk.run(*page.take(command).words(name))
            assert (done.exit_code, done.stderr) == (status, ""), (command, done.output)
            printed[command] = json.loads(done.stdout)
    assert printed["requests --json"] == [printed["show ID --json"]]
    assert printed["show ID --json"]["request"] == "R-1"
    assert (printed["wait ID --json"]["state"], printed["withdraw ID --json"]["state"]) == ("denied", "withdrawn")
    of_keys = names(printed["key list --json"]) | names(printed["key show --json"])
    assert promised("key list --json") - of_keys == set()
    for command in ("approvers list --json", "ledgers --json"):
        assert promised(command) - names(printed[command]) == set()


async def test_the_script_signs_what_it_has_fetched(page: Page) -> None:
    async with office() as desk:
        desk.hold()
        digest = desk.context()
        script = ["sh", "-c", page.take("set -eu").line({"--yes": "--yes --wait 0"})]
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(desk.folder),
            "PGNOTARY_SOCKET": str(desk.socket),
            "PGNOTARY_KEY": str(key_file(desk.folder, "bo")),
        }
        done = await asyncio.to_thread(
            subprocess.run, script, cwd=desk.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "approved  R-1  ledger #2\n"), done.stderr
        assert desk.taken.context.hex() == digest


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An export of a ledger with an approved request and one execution; of three others only the number is kept."""
    ledger: Ledger = one_approval()
    ledger.forward("select 1")
    ledger.sum_up(ledger.summary())
    export_folder(ledger, tmp_path / "evidence", LEDGER_KEY)
    return tmp_path / "evidence"


def test_what_was_recorded(page: Page, place: Path, tmp_path: Path) -> None:
    search = page.take("search --json").words()
    (asked,) = map(json.loads, run(*search, "--ledger", place).stdout.splitlines())
    forwarded = run(*search, "--forwarded", "--ledger", place).stdout.splitlines()
    assert promised("search --json") - names([*map(json.loads, forwarded), asked]) == set()
    # Of an ended request `show` prints the same.
    shown = run(*page.take("show ID --json").words({"ID": "R-1"}), "--ledger", place, "--socket", tmp_path / "no.sock")
    assert json.loads(shown.stdout) == asked
    drawn = run(*page.take("show ID --page").words({"ID": "R-1", "PLACE": place}))
    assert (drawn.exit_code, drawn.stderr) == (0, "R-1   bo said approve to this\n")
    assert "   1 | DELETE FROM orders" in drawn.stdout
    done = run(*page.take("export FOLDER").words({"FOLDER": tmp_path / "again"}), "--ledger", place)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again" / "entries.jsonl").read_bytes() == (place / "entries.jsonl").read_bytes()


def test_what_is_judged(page: Page, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"sql": "SELECT 1"}\n\n{"sql": "DELETE FROM orders WHERE id = $1"}\n')
    judged = run(*page.take("explain --jsonl FILE").words({"FILE": texts}))
    first, second = map(json.loads, judged.stdout.splitlines())
    assert (first["verdict"], second["verdict"]) == ("forward", "hold")
    assert set(first) == promised("explain --jsonl FILE")
    whole = json.loads(run(*page.take("explain --json").words(), "DELETE FROM orders WHERE id = $1").stdout)
    assert set(first) < set(whole), "the same, and more"
    assert promised("explain --json") - names(whole) == set()
    rules = json.loads(run(*page.take("policy show --json").words(), "--config", "config/policy.example.toml").stdout)
    assert promised("policy show --json") == set(rules)
