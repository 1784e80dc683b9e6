"""Where the source comes from, and what is said where it cannot be had."""

import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from tests.regress.source import SourceUnavailable, cache, server_version, unpack

VERSION = "15.18-0+deb12u1"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n" + text)
    (folder / name).chmod(0o755)


def test_the_version_of_the_package_is_asked_of_the_server(tmp_path: Path) -> None:
    _program(tmp_path / "bin", "postgres", f"echo 'postgres (PostgreSQL) 15.18 (Debian {VERSION})'")
    assert server_version(tmp_path / "bin") == VERSION


def test_a_server_that_is_not_debians_is_not_used(tmp_path: Path) -> None:
    _program(tmp_path / "bin", "postgres", "echo 'postgres (PostgreSQL) 15.18'")
    with pytest.raises(SourceUnavailable, match=r"15\.18 is not of Debian's package"):
        server_version(tmp_path / "bin")
    with pytest.raises(SourceUnavailable, match="there is no PostgreSQL of Debian's"):
        server_version(tmp_path / "nothing")


def test_without_apt_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailable, match="there is no apt-get"):
        unpack(VERSION, tmp_path / "source")


def test_without_a_mirror_it_says_what_apt_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _program(tmp_path / "bin", "apt-get", "echo 'W: no'>&2; echo 'E: Could not resolve host'>&2; exit 100")
    monkeypatch.setenv("PATH", str(tmp_path / "bin") + ":" + os.environ["PATH"])
    with pytest.raises(SourceUnavailable, match="apt-get update failed: E: Could not resolve host"):
        unpack(VERSION, tmp_path / "source")


def test_the_archive_in_the_cache_is_used_without_a_mirror_and_only_what_the_scripts_need_is_unpacked(
    tmp_path: Path,
) -> None:
    folder = cache() / VERSION
    folder.mkdir()
    with tarfile.open(folder / "postgresql-15_15.18.orig.tar.bz2", "w:bz2") as archive:
        for name in ("src/test/regress/sql/a.sql", "contrib/cube/Makefile", "src/backend/main/main.c", "README"):
            member = tarfile.TarInfo(f"postgresql-15.18/{name}")
            member.size = 1
            archive.addfile(member, BytesIO(b"x"))
    root = unpack(VERSION, tmp_path / "source")
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert files == ["contrib/cube/Makefile", "src/test/regress/sql/a.sql"]
