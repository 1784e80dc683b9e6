"""A PostgreSQL server of one's own: up in a second on a free loopback port, gone without a trace afterwards.

What enters: where the server's programs may be, and settings. What leaves: a running server, its address, and
the password of its superuser, drawn anew each time. What never happens: no system account is made, no foreign
file or folder is changed, nothing is downloaded, no port but one on 127.0.0.1 is opened, no data outlives the
`with` block. **fsync is off**: this server is for demonstrations and tests.

Its files: https://www.postgresql.org/docs/current/storage-file-layout.html
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

from pgnotary.demo.account import give, new_directory, reachable, run_as, server_account, server_environment
from pgnotary.demo.programs import PostgresUnavailable, find_bin_dir, find_psql

__all__ = ["EmbeddedPostgres"]

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
        self._account = server_account()
        self._directory: Path | None = None
        self._programs = self.bin_dir
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make a new cluster and start its server."""
        self._directory = new_directory(self._account)
        try:
            self._programs = reachable(self.bin_dir, self._account, self._directory)
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
        give(secret, self._account)
        options = f"-A scram-sha-256 -U {self.superuser} --no-sync --no-locale -E UTF8".split()
        command = [str(self._programs / "initdb"), *options, f"--pwfile={secret}", "-D", "data"]
        try:
            run_as(self._account, command, cwd=self._run_directory, timeout_s=self._timeout_s)
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
                env=server_environment(),
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _tail(output: bytes) -> str:
    lines = output.decode("utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-_LOG_LINES_SHOWN:]) or "it said nothing"
