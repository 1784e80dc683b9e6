"""How printed lines call pgnotary: by what a shell finds from here."""

import sys
from pathlib import Path

import pytest

from pgnotary.cli.program import program


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


def test_what_run_prepared_is_called_by_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "my clone"
    run = executable(top / "run")
    executable(top / ".venv" / "bin" / "pgnotary")
    monkeypatch.setattr(sys, "prefix", str(top / ".venv"))
    monkeypatch.chdir(top)
    assert program() == "./run"
    monkeypatch.chdir(tmp_path)
    assert program() == f"'{run}'"


def test_what_is_installed_is_called_by_its_name_only_if_the_path_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = executable(tmp_path / "own" / "bin" / "pgnotary")
    other = executable(tmp_path / "other" / "bin" / "pgnotary")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "own"))
    monkeypatch.setenv("PATH", str(own.parent))
    assert program() == "pgnotary"
    monkeypatch.setenv("PATH", f"{other.parent}:{own.parent}")
    assert program() == str(own)


def test_what_has_no_program_is_called_as_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python")
    assert program() == "'/opt/my python/bin/python' -m pgnotary.cli"
