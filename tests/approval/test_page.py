"""docs/approval-api.md is true: its table, its configurations, and a signature made by hand."""

import asyncio
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import msgspec
import pytest
from tests.approval.office import key_file
from tests.approval.test_callers import call, headers, networked

from pgnotary.approval.access import MAY_CALL, Role
from pgnotary.config import parse
from pgnotary.ledger.canonical import unb64
from pgnotary.request import call as calls

PAGE = Path("docs/approval-api.md").read_text()
_NOBODY = "-"


def test_the_table_of_calls_is_the_one_in_the_code() -> None:
    table = PAGE.split("| call | local | engineer | approver | redactor |")[1].split("\n\n")[0]
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
    for block in PAGE.split("```toml\n")[1:]:
        text = block.split("```")[0]
        assert tomllib.loads(text)
        config = parse(Path("pgnotary.toml"), text.encode())
        assert config.approval_address or config.metrics_address


def test_the_document_has_the_fields_that_it_says() -> None:
    raw = unb64(headers()[calls.CALL_HEADER])
    shown = PAGE.split("```json\n")[1].split("```")[0].replace("\n ", "")
    assert msgspec.json.decode(raw).keys() == msgspec.json.decode(shown.strip()).keys()
    described = re.findall(
        r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", PAGE.split("| field | |")[1].split("\n\n")[0], re.MULTILINE
    )
    assert {name for names in described for name in re.findall(r"[a-z_]+", names)} == msgspec.json.decode(raw).keys()


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="not run: no ssh-keygen is at hand")
async def test_a_call_that_is_signed_by_hand_as_it_says_is_admitted() -> None:
    async with networked() as office:
        key = key_file(office.folder, "ana")
        script = PAGE.split("```sh\n")[1].split("```")[0].replace("~/.ssh/id_ed25519", str(key))
        script = re.sub(r"curl [^\n]*\\\n +", "printf '%s\\\\n' ", script).replace("-H ", "")
        document = unb64(headers()[calls.CALL_HEADER]).decode()
        done = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-ec", script],
            cwd=office.folder,
            env={"document": document, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        made = dict(line.split(": ", 1) for line in done.stdout.splitlines())
        status, listed = await call(office, headers=made)
        assert (status, listed) == (200, [])
