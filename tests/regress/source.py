"""PostgreSQL's own regression SQL, fetched when it is asked for: from the source package that a Debian mirror serves.

A server's folder of programs enters, the tree of its source (src/test/regress, src/pl, contrib) leaves as a folder of
a caller's choice; where it cannot be had, `SourceUnavailable` says why. Archives are checked by apt against the
distribution's signatures and kept in ~/.cache/pgnotary/regress; the system's own lists of packages are never touched,
nothing is installed, and nothing of it is part of this repository.
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

__all__ = ["DEBIAN_BIN", "SourceUnavailable", "cache", "loadable", "server_version", "unpack"]

DEBIAN_BIN = Path("/usr/lib/postgresql/15/bin")
"""Where Debian's package of PostgreSQL 15 has its programs."""

# Debian 12 has PostgreSQL 15; an older version of the package stays in the first of the two for longer.
_SOURCES = """\
Types: deb deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
_WANTED = ("src/test/regress/", "src/pl/plpgsql/src/", "contrib/")
# Triggers in C that the scripts load, beside regress.so: contrib/spi, which Debian ships.
_SHIPPED = ("autoinc", "refint")


class SourceUnavailable(Exception):
    """The source cannot be had here; the message says why."""


def cache() -> Path:
    """Return our folder among the user's caches."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "pgnotary" / "regress"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def server_version(bin_dir: Path) -> str:
    """Return the version of Debian's package, e.g. 15.18-0+deb12u1; raises SourceUnavailable if it is not there."""
    try:
        said = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SourceUnavailable(f"there is no PostgreSQL of Debian's: {error}") from error
    if (found := re.search(r"\(Debian ([^ )]+)\)", said)) is None:
        raise SourceUnavailable(f"{said.strip()} is not of Debian's package")
    return found[1]


def unpack(version: str, target: Path) -> Path:
    """Unpack what the scripts need of the source of `version` into `target`; return the root of that tree."""
    with tarfile.open(_archive(version)) as archive:
        members = []
        for member in archive:
            below = member.name.partition("/")[2]
            if member.isfile() and below.startswith(_WANTED) and not {"", ".."} & set(member.name.split("/")):
                members.append(member)
        # Python has had filters since 3.11.4.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(target, members)
    (root,) = target.iterdir()
    return root


def loadable(version: str, root: Path, bin_dir: Path, target: Path) -> list[str]:
    """Put the C functions that the scripts load into `target`; return the names of those that cannot be had.

    regress.so is compiled from the source, if there is a compiler and the package of the server's headers.
    """
    missing = []
    for name in _SHIPPED:
        shipped = bin_dir.parent / "lib" / f"{name}.so"
        if shipped.exists():
            shutil.copy(shipped, target)
        else:
            missing.append(name)
    try:
        _compile_regress(version, root, target)
    except (SourceUnavailable, OSError, subprocess.SubprocessError):
        missing.append("regress")
    return missing


def _compile_regress(version: str, root: Path, target: Path) -> None:
    package = _fetched("download", "postgresql-server-dev-15", version, "postgresql-server-dev-15_*.deb")
    headers = root / "headers"
    subprocess.run(["dpkg-deb", "-x", package, headers], check=True, capture_output=True)
    flags = [f"-I{headers}/usr/include/postgresql/15/server", f"-I{headers}/usr/include/postgresql/internal"]
    source = root / "src/test/regress/regress.c"
    command = ["cc", "-O1", "-w", "-fPIC", "-shared", *flags, str(source), "-o", str(target / "regress.so")]
    subprocess.run(command, check=True, capture_output=True)


def _archive(version: str) -> Path:
    upstream = version.partition("-")[0]
    return _fetched("source", "postgresql-15", version, f"postgresql-15_{upstream}.orig.tar.*")


def _fetched(verb: str, package: str, version: str, pattern: str) -> Path:
    """Return an archive from the cache; what is not there is fetched, and put there when it is complete."""
    folder = cache() / version
    if not (found := sorted(folder.glob(pattern))):
        if shutil.which("apt-get") is None:
            raise SourceUnavailable("there is no apt-get to fetch the source with")
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as fresh:
            _apt("update", folder=Path(fresh))
            options = ["--download-only", "--tar-only"] if verb == "source" else []
            _apt(verb, *options, f"{package}={version}", folder=Path(fresh))
            found = [path.rename(folder / path.name) for path in Path(fresh).glob(pattern)]
    if not found:
        raise SourceUnavailable(f"apt-get {verb} {package}={version} left no {pattern}")
    return found[0]


def _apt(*words: str, folder: Path) -> None:
    """Run apt-get with lists of its own, so that a user's lists, or the lack of them, make no difference."""
    apt = cache() / "apt"
    (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (apt / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (apt / "debian.sources").write_text(_SOURCES)
    settings = {
        "Dir::Etc::SourceList": f"{apt}/debian.sources",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": f"{apt}/lists",
        "Dir::Cache": str(apt),
        # As root it would download as another user, who cannot write here.
        "APT::Sandbox::User": "root",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    try:
        command = ["apt-get", "-q", *options, *words]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("E:")]
        raise SourceUnavailable(f"apt-get {words[0]} failed: {' '.join(lines[:2])}") from error
    except subprocess.TimeoutExpired as error:
        raise SourceUnavailable(f"apt-get {words[0]} did not end in time") from error
