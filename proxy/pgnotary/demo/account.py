"""Whom a server of one's own runs as, and what that account can reach: programs and commands enter, folders leave.

PostgreSQL refuses to run as root. So root lends it the account `postgres` or else `nobody`, and where that account
cannot reach the programs (an environment below a closed home) it is given a copy of them. No account is made, and no
file or folder that is not ours is changed.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgnotary.demo.programs import PostgresUnavailable

__all__ = ["copied", "give", "new_directory", "reachable", "run_as", "server_account", "server_environment"]


def server_account() -> pwd.struct_passwd | None:
    """Who the server runs as: the first of `postgres` and `nobody` if we are root, else None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresUnavailable("PostgreSQL does not run as root, and no user is called postgres or nobody")


def give(path: Path, account: pwd.struct_passwd | None) -> None:
    """Let `account` own what is at `path`."""
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def new_directory(account: pwd.struct_passwd | None) -> Path:
    """Make a folder that belongs to `account` alone, in a place that it can reach."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 (mkdtemp makes it ours)
        directory = Path(tempfile.mkdtemp(prefix="pgnotary-postgres-", dir=parent))
        give(directory, account)
        try:
            # By its whole name: the change to `cwd` is made before the change of user, and proves nothing.
            run_as(account, ["/bin/sh", "-c", 'cd "$0"', str(directory)], cwd=Path("/"), timeout_s=10)
        except subprocess.CalledProcessError:
            directory.rmdir()
        else:
            return directory
    raise PostgresUnavailable("the server's user can reach no folder for temporary files")


def reachable(bin_dir: Path, account: pwd.struct_passwd | None, directory: Path) -> Path:
    """Return `bin_dir` if `account` can run its programs, else a copy of it inside `directory`."""
    try:
        run_as(account, [str(bin_dir / "initdb"), "--version"], cwd=directory, timeout_s=10)
    except PermissionError:
        return copied(bin_dir, account, directory / "programs")
    except (OSError, subprocess.SubprocessError) as error:
        raise PostgresUnavailable(f"cannot run initdb of {bin_dir}: {error}") from error
    return bin_dir


def copied(bin_dir: Path, account: pwd.struct_passwd | None, target: Path) -> Path:
    """Copy two programs, and what they load from places relative to them, to `target`."""
    prefix = bin_dir.parent
    package = prefix.parent
    # The wheels carry shared libraries beside the package (Linux) or inside it (macOS).
    wanted = [
        bin_dir / "initdb",
        bin_dir / "postgres",
        prefix / "lib",
        prefix / "share",
        package / ".dylibs",
        package.parent / f"{package.name}.libs",
    ]
    for source in wanted:
        copy = target / source.relative_to(package.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        elif source.exists():
            shutil.copy2(source, copy)
    for copy in (target, *target.rglob("*")):
        give(copy, account)
    return target / bin_dir.relative_to(package.parent)


def run_as(account: pwd.struct_passwd | None, command: Sequence[str], *, cwd: Path, timeout_s: float) -> None:
    """Run `command` to its end as `account`; its output is in the CalledProcessError if it fails."""
    lent: dict[str, Any] = {}
    if account is not None:
        lent = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=server_environment(),
        timeout=timeout_s,
        **lent,
    )


def server_environment() -> dict[str, str]:
    """Return what a server's program is told of ours."""
    # PGDATA, PGPORT and the like are meant for somebody else's server.
    foreign = ("PG", "LANG", "LC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {"LC_ALL": "C"}
