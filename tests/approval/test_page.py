"""docs/approval-api.md is true: its table, its configurations, and a signature made by hand."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from tests.approval.office import Office, key_file
from tests.approval.test_callers import encrypted, headers, networked
from tests.cli.office import ran
from tests.flow.by_hand import say_yes
from tests.pages import PAGES, Page, run
from tests.pki import Pki

from pgnotary.approval.access import MAY_CALL, Role
from pgnotary.config import parse
from pgnotary.ledger.canonical import unb64
from pgnotary.request import call as calls
from pgnotary.request.life import State

PAGE = "approval-api.md"
TEXT = PAGES[PAGE].read_text(encoding="utf-8")
_NOBODY = "-"


def test_the_table_of_calls_is_the_one_in_the_code() -> None:
    table = TEXT.split("| call | local | engineer | approver | redactor |")[1].split("\n\n")[0]
    found: dict[tuple[str, str], frozenset[Role]] = {}
    for line in table.splitlines()[2:]:
        named, local, engineer, approver, redactor = (cell.strip() for cell in line.strip("|").split("|"))
        cells = {Role.LOCAL: local, Role.ENGINEER: engineer, Role.APPROVER: approver, Role.REDACTOR: redactor}
        # What only a signed call may do is for nobody who is only local.
        may = frozenset(role for role, cell in cells.items() if cell != _NOBODY and not cell.startswith("signed"))
        for method, path in re.findall(r"`([A-Z]+) ([^`?]+)", named):
            found[method, path] = may
    assert found == dict(MAY_CALL)


def test_its_configurations_are_good() -> None:
    for block in TEXT.split("```toml\n")[1:]:
        text = block.split("```")[0]
        assert tomllib.loads(text)
        config = parse(Path("pgnotary.toml"), text.encode())
        assert config.approval_address or config.metrics_address


def test_the_document_has_the_fields_that_it_says() -> None:
    raw = unb64(headers()[calls.CALL_HEADER])
    shown = TEXT.split("```json\n")[1].split("```")[0].replace("\n ", "")
    assert msgspec.json.decode(raw).keys() == msgspec.json.decode(shown.strip()).keys()
    described = re.findall(
        r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", TEXT.split("| field | |")[1].split("\n\n")[0], re.MULTILINE
    )
    assert {name for names in described for name in re.findall(r"[a-z_]+", names)} == msgspec.json.decode(raw).keys()


async def test_its_commands_reach_the_api_over_tls(page: Page, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    async with networked(encrypted(pki)) as office:
        office.hold("R-17")
        office.desk.outcome = ran(State.COMMITTED)
        environment = _machine(office, pki)
        names = {"db.example.com:7443": _address(office)}
        monkeypatch.chdir(office.folder)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        done = await asyncio.to_thread(run, *page.take("pgnotary requests").words(names))
        assert (done.exit_code, "R-17" in done.stdout) == (0, True), done.output
        # The same by the environment, in the names that the page gives.
        variables = re.findall(r"`(PGNOTARY_(?:SERVER|CA|PROXY_KEY))`", TEXT)
        with monkeypatch.context() as patch:
            for variable, value in zip(variables, (f"https://{_address(office)}", "ca.pem", "proxy.vkey"), strict=True):
                patch.setenv(variable, value)
            done = await asyncio.to_thread(run, "requests")
        assert (done.exit_code, "R-17" in done.stdout) == (0, True), done.output
        said = await asyncio.to_thread(say_yes, page.take("pgnotary approve").line(names))
        assert "approved  R-17" in said
        assert len(office.desk.taken) == 1


async def test_a_call_that_is_signed_by_hand_as_it_says_is_admitted_over_tls(page: Page, pki: Pki) -> None:
    script = page.take("printf")
    if not (shutil.which("ssh-keygen") and shutil.which("curl")):
        pytest.skip("not run: ssh-keygen and curl are not both at hand")
    async with networked(encrypted(pki)) as office:
        office.hold("R-17")
        environment = _machine(office, pki)
        document = unb64(headers()[calls.CALL_HEADER]).decode()

        def call_by_hand() -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                ["sh", "-euc", script.line({"db.example.com:7443": _address(office)})],
                cwd=office.folder, env=environment | {"document": document},
                capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip

        done = await asyncio.to_thread(call_by_hand)
        assert done.returncode == 0, done.stderr
        assert [each["id"] for each in json.loads(done.stdout)] == ["R-17"]
        # The same document counts once.
        (office.folder / "call.json.sig").unlink()
        assert "error" in json.loads((await asyncio.to_thread(call_by_hand)).stdout)


def _machine(office: Office, pki: Pki) -> dict[str, str]:
    """Make the office's folder the home of ana, who has what the page names; the environment there."""
    (office.folder / ".ssh").mkdir()
    key_file(office.folder, "ana").rename(office.folder / ".ssh" / "id_ed25519")
    shutil.copy(pki.ca, office.folder / "ca.pem")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return {"HOME": str(office.folder), "PATH": path, "TERM": "dumb"}


def _address(office: Office) -> str:
    assert office.api.address is not None
    return f"localhost:{office.api.address[1]}"
