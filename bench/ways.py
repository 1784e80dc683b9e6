"""The ways from pgbench to PostgreSQL that are compared: none, pgnotary with each record, and other proxies at hand."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.flow.bouncer import PGBOUNCER, open_bouncer
from tests.flow.ports import free_port
from tests.flow.served import PASSWORD, Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.rules import PROFILES, Record

__all__ = ["DIRECT", "NOTARY", "ORDER", "POOLER", "SUMMARY", "Way", "open_ways"]

DIRECT, NOTARY, POOLER, SPLICE = "direct", "pgnotary", "pgbouncer", "haproxy"
SUMMARY = f"{NOTARY}, record = summary"
ORDER = (DIRECT, NOTARY, SUMMARY, POOLER, SPLICE)

_HAPROXY = """\
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen postgres
    bind 127.0.0.1:{port}
    server postgres {host}:{upstream}
"""
# What would be held is soon refused (57014): nobody decides here.
_HOLD_S = 2


@dataclass(frozen=True, slots=True)
class Way:
    """Where to connect, as whom, and which process to measure; none where there is no proxy."""

    name: str
    host: str
    port: int
    user: str
    password: str
    pid: int | None = None


def open_ways(stack: ExitStack, postgres: EmbeddedPostgres, profile: str, folder: Path) -> dict[str, Way | str]:
    """Start what is there; in the place of a way that cannot be had stands the reason."""
    found: dict[str, Way | str] = {
        DIRECT: Way(DIRECT, postgres.host, postgres.port, postgres.superuser, postgres.password),
        POOLER: "not run: pgbouncer is not at hand",
        SPLICE: "not run: haproxy is not at hand",
    }
    for name, rules in ((NOTARY, ""), (SUMMARY, _summing(profile))):
        served = Served(
            postgres, folder / f"{profile}-{name.split()[-1]}", profile=profile, hold_s=_HOLD_S, tables=rules
        )
        stack.enter_context(served)
        assert served.process is not None
        found[name] = Way(name, "127.0.0.1", served.port, "eva", PASSWORD, served.process.pid)
    if PGBOUNCER is not None:
        bouncer = stack.enter_context(open_bouncer(postgres, "log_connections = 0", "log_disconnections = 0"))
        found[POOLER] = Way(POOLER, "127.0.0.1", bouncer.port, postgres.superuser, "", bouncer.pid)
    if (program := shutil.which("haproxy")) is not None:
        port, pid = stack.enter_context(_splice(program, postgres, folder))
        found[SPLICE] = Way(SPLICE, "127.0.0.1", port, postgres.superuser, postgres.password, pid)
    return found


def _summing(profile: str) -> str:
    """Return rules that forward what a profile forwards, and keep a summary of it."""
    tables = [
        {
            "name": rule.name.partition("/")[2],
            "result": rule.result,
            "class": rule.classes,
            "qualifier": rule.qualifiers,
            "record": Record.SUMMARY,
        }
        for rule in PROFILES[profile].rules
    ]
    # A string or a list of strings is written in TOML as it is in JSON.
    lines = (f"{key} = {json.dumps(value)}\n" for table in tables for key, value in table.items())
    return "".join(f"\n[[policy.rule]]\n{line}" if line.startswith("name") else line for line in lines)


@contextmanager
def _splice(program: str, postgres: EmbeddedPostgres, folder: Path) -> Iterator[tuple[int, int]]:
    """HAProxy as a splice of two sockets; yields its port and process id."""
    port = free_port()
    file = folder / "haproxy.cfg"
    file.write_text(_HAPROXY.format(port=port, host=postgres.host, upstream=postgres.port))
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(file)], stdout=log, stderr=log)
    try:
        until(lambda: _listens(port) or process.poll() is not None, "HAProxy to listen")
        assert process.poll() is None, (folder / "haproxy.log").read_text()
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
