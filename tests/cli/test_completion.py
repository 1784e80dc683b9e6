"""Completion: bash itself, with the script that we print, and what it is offered."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.cli.office import office

from pgnotary.cli import pgnotary

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    result = CliRunner().invoke(pgnotary, ["completion", shell])
    assert result.exit_code == 0
    assert f"{shell}_complete" in result.stdout
    assert "pgnotary" in result.stdout


def test_another_shell_is_wrong_usage() -> None:
    assert CliRunner().invoke(pgnotary, ["completion", "csh"], prog_name="pgnotary").exit_code == 2


async def _offered(folder: Path, socket: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of these words."""
    program = folder / "bin" / "pgnotary"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pgnotary.cli "$@"\n')
        program.chmod(0o755)
    script = (
        'eval "$(pgnotary completion bash)"\n'
        'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n'
        "complete -p pgnotary > /dev/null || exit 9\n"
        '_pgnotary_completion pgnotary\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = {"PATH": f"{program.parent}:{os.defpath}", "HOME": str(folder), "PGNOTARY_SOCKET": str(socket)}
    running = await asyncio.create_subprocess_exec(
        "bash", "--norc", "-c", script, "bash", "pgnotary", *words, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(running.communicate(), 60)
    assert (running.returncode, err) == (0, b"")
    return out.decode().split()


@needs_bash
async def test_bash_completes_commands_and_the_ids_of_open_requests() -> None:
    async with office() as desk:
        desk.hold("R-1")
        desk.hold("R-12")
        desk.hold("R-2")
        assert await _offered(desk.folder, desk.socket, "rev") == ["review", "reviewed"]
        assert await _offered(desk.folder, desk.socket, "approve", "R-1") == ["R-1", "R-12"]
        assert await _offered(desk.folder, desk.folder / "none", "approve", "R-") == []


@pytest.mark.parametrize("verb", ["approve", "deny", "show", "wait", "withdraw"])
async def test_every_command_over_an_open_request_is_offered_it(verb: str) -> None:
    async with office() as desk:
        desk.hold("R-1")
        environment = {"_PGNOTARY_COMPLETE": "bash_complete", "COMP_WORDS": f"pgnotary {verb} R", "COMP_CWORD": "2"}
        assert (await desk.run(env=environment)).stdout == "plain,R-1\n"


async def test_ledgers_are_offered_by_name(tmp_path: Path) -> None:
    (tmp_path / "pgnotary").mkdir()
    (tmp_path / "pgnotary" / "config.toml").write_text('[ledger.prod]\nsocket = "a"\n[ledger.test]\nsocket = "b"\n')
    words = {"_PGNOTARY_COMPLETE": "bash_complete", "COMP_WORDS": "pgnotary requests --at p", "COMP_CWORD": "3"}
    result = CliRunner().invoke(pgnotary, [], env=words | {"XDG_CONFIG_HOME": str(tmp_path)}, prog_name="pgnotary")
    assert result.stdout == "plain,prod\n"


def test_a_proxy_that_calls_a_request_by_a_command_has_nothing_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    from pgnotary.cli import completing

    monkeypatch.setattr(completing, "_open", lambda _: ["R-1;reboot", "R-1", "R-1\nR-2", "R-1@9b1f22aa", "R-$(id)"])
    context, parameter = click.Context(pgnotary), click.Option(["--x"])
    assert [each.value for each in completing.complete_open(context, parameter, "R")] == ["R-1"]
