"""A PgBouncer before a server, in session pooling, for as long as a `with` block lasts; it does not run as root."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.flow.ports import free_port
from tests.flow.served import until
from tests.unprivileged import reachable_folder

from pgnotary.demo.postgres import EmbeddedPostgres

__all__ = ["PGBOUNCER", "Bouncer", "open_bouncer"]

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
"""The program, or None if it is not at hand."""


@dataclass(frozen=True, slots=True)
class Bouncer:
    """Where it listens, on 127.0.0.1, and its process id; it asks for no password."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"


@contextmanager
def open_bouncer(postgres: EmbeddedPostgres, *settings: str) -> Iterator[Bouncer]:
    """Start PgBouncer; `settings` are lines of its configuration."""
    assert PGBOUNCER is not None
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    port = free_port()
    with reachable_folder() as folder:
        file = folder / "pgbouncer.ini"
        lines = [
            "[databases]",
            f"* = host={postgres.host} port={postgres.port} user={postgres.superuser} password={postgres.password}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "unix_socket_dir =",
            "auth_type = any",
            "pool_mode = session",
            *settings,
        ]
        file.write_text("\n".join(lines) + "\n")
        lent: dict[str, Any] = {}
        if account is not None:
            for path in (folder, file):
                os.chown(path, account.pw_uid, account.pw_gid)
            lent = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([PGBOUNCER, str(file)], stdout=log, stderr=log, **lent)
        try:
            until(lambda: _listens(port) or process.poll() is not None, "PgBouncer to listen")
            assert process.poll() is None, (folder / "log").read_text()
            yield Bouncer(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as plug:
        return plug.connect_ex(("127.0.0.1", port)) == 0
