"""TLS from end to end: psql and psycopg through a real proxy, and the proxy to a real server."""

import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import pq
from tests.flow.raw import Raw
from tests.flow.served import PASSWORD, Served, until
from tests.pki import Files, Pki
from tests.terminator import Terminator
from tests.unprivileged import reachable_folder

from pgnotary.config import load
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.decision import Answer
from pgnotary.request.life import State
from pgnotary.serve.certificates import upstream_of
from pgnotary.serve.resolver import Sent, asking
from pgnotary.serve.tls import server_tls
from pgnotary.wire.messages import TERMINATE
from pgnotary.wire.startup import PROTOCOL_3_0, encode_startup

PATIENCE_S = 30
DELETE = "DELETE FROM orders WHERE id <= 10"


def _speaks_tls(psql: Path) -> bool:
    """Whether a psql was built with OpenSSL, by asking it for what only such a one can want."""
    if not psql.is_file():
        return False
    command = [str(psql), "-X", "sslmode=require host=127.0.0.1 port=1 connect_timeout=2"]
    return "sslmode" not in subprocess.run(command, capture_output=True, text=True, check=False).stderr


PSQL = next((path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"), reverse=True)), Path("/none"))
DEBIAN = PSQL.parent
needs_psql = pytest.mark.skipif(not _speaks_tls(PSQL), reason="not run: no psql with OpenSSL is at hand")
needs_server = pytest.mark.skipif(not (DEBIAN / "postgres").is_file(), reason="not run: no server with OpenSSL")
needs_direct = pytest.mark.skipif(pq.version() < 170_000, reason="not run: libpq knows no sslnegotiation")


@pytest.fixture(scope="module")
def bo(pki: Pki) -> Files:
    return pki.issue("bo@example.com", common_name="bo")


def _configure(served: Served, section: str, *lines: str) -> None:
    """Put keys into a section, or a table behind it."""
    text = served.config.read_text()
    assert section in text
    served.config.write_text(text.replace(section, "\n".join([section, *lines]), 1))


def _with_tls(served: Served, files: Files, *lines: str) -> Served:
    text = served.config.read_text()
    table = [f'certificate_file = "{files.certificate}"', f'key_file = "{files.key}"', *lines]
    served.config.write_text(text + "\n[listen.tls]\n" + "\n".join(table) + "\n")
    return served


@pytest.fixture(scope="module")
def secure(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Served]:
    """A proxy on loopback with TLS; bo needs a certificate."""
    served = Served(postgres, tmp_path_factory.mktemp("secure") / "pgnotary", hold_s=60)
    _with_tls(served, pki.issue("localhost", "127.0.0.1"), f'client_ca_file = "{pki.ca}"')
    _configure(served, '[[user]]\nname = "bo"', 'certificate = "CN:bo"')
    with served:
        yield served
        served.entries()


def _verified(pki: Pki, **options: str) -> dict[str, str]:
    return {"sslmode": "verify-full", "sslrootcert": str(pki.ca), "sslcert": "none", **options}


# --- clients -------------------------------------------------------------------------------------------------------


@needs_psql
@pytest.mark.parametrize("sslmode", ["require", "verify-full"])
def test_psql_reads_and_is_held_and_is_let_go_over_tls(secure: Served, database: str, pki: Pki, sslmode: str) -> None:
    _, environment = secure.psql(database)
    where = f"host=127.0.0.1 port={secure.port} user=eva dbname={database} sslmode={sslmode} sslrootcert={pki.ca}"
    command = [str(PSQL), "-X", where, "-c", "\\conninfo", "-c", "SELECT count(*) FROM orders", "-c", DELETE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True) as psql:
        paper = secure.held()
        secure.decide(paper, Answer.APPROVE)
        printed, _ = psql.communicate(timeout=PATIENCE_S)
    assert "SSL connection (protocol: TLSv1.3" in printed
    assert printed.rstrip().endswith("DELETE 10")
    assert secure.outcome(paper.id)["result"] == "committed"


@pytest.mark.parametrize("negotiation", ["postgres", pytest.param("direct", marks=needs_direct)])
def test_psycopg_is_held_and_let_go_over_tls_bound_to_our_certificate(
    secure: Served, database: str, pki: Pki, negotiation: str
) -> None:
    options = _verified(pki, channel_binding="require", sslnegotiation=negotiation)
    with secure.connect(database, **options) as connection:
        assert connection.pgconn.ssl_in_use
        deciding = threading.Thread(target=secure.approve)
        deciding.start()
        assert connection.execute(DELETE).rowcount == 10
        deciding.join(PATIENCE_S)
        row = connection.execute("SELECT count(*), repeat('x', 10000000) FROM orders").fetchone()
        assert row is not None
        assert (row[0], len(row[1])) == (90, 10_000_000)


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_statement_is_cancelled_over_tls_and_by_those_who_cancel_in_plain_text(
    secure: Served, database: str, pki: Pki, encrypted: bool
) -> None:
    with secure.connect(database, **_verified(pki)) as connection:

        def cancel() -> None:
            with secure.behind(database) as other:
                busy = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
                until(lambda: other.execute(busy, [database]).fetchone(), "the statement to run")
            connection.cancel_safe() if encrypted else connection.pgconn.get_cancel().cancel()

        cancelling = threading.Thread(target=cancel)
        cancelling.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(60)")
        cancelling.join(PATIENCE_S)


def test_on_loopback_plain_text_goes_on_if_it_is_not_forbidden(secure: Served, database: str) -> None:
    done = secure.run_psql(database, "-Atc", "SELECT count(*) FROM orders")
    assert done.stdout == "100\n", done.stderr


def _refused(served: Served, database: str, user: str, **options: str) -> psycopg.OperationalError:
    with pytest.raises(psycopg.OperationalError) as refused:
        served.connect(database, user, **options)
    return refused.value


def test_who_needs_a_certificate_comes_in_with_it_and_the_password_alone(
    secure: Served, database: str, pki: Pki, bo: Files
) -> None:
    eva = pki.issue("eva@example.com", common_name="eva")
    shows_bo = {"sslcert": str(bo.certificate), "sslkey": str(bo.key)}
    shows_eva = {"sslcert": str(eva.certificate), "sslkey": str(eva.key)}
    with secure.connect(database, "bo", **_verified(pki, **shows_bo)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    why = 'FATAL:  certificate authentication failed for user "bo"'
    for options in (_verified(pki), _verified(pki, **shows_eva), {"sslmode": "disable"}):
        assert why in str(_refused(secure, database, "bo", **options))
    # Who does not know the password learns nothing of certificates, nor whether there is such a user.
    for user in ("bo", "nobody", "eva"):
        with pytest.raises(psycopg.OperationalError) as refused:
            secure.connect(database, user, **_verified(pki, password="wrong"))
        assert f'FATAL:  password authentication failed for user "{user}"' in str(refused.value)
        assert "certificate" not in str(refused.value)


def test_off_loopback_plain_text_is_refused(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, pki: Pki
) -> None:
    served = Served(postgres, tmp_path / "pgnotary")
    served.config.write_text(
        served.config.read_text().replace("127.0.0.1:" + str(served.port), f"0.0.0.0:{served.port}")
    )
    _with_tls(served, pki.issue("127.0.0.1"))
    with served:
        done = served.run_psql(database, "-c", "SELECT 1")
        assert "FATAL:  this connection is not encrypted, and has to be" in done.stderr
        assert done.returncode == 2
        with served.connect(database, **_verified(pki)) as connection:
            assert connection.pgconn.ssl_in_use
    assert len([entry for entry in served.entries() if entry["type"] == "session-opened"]) == 1


def test_on_loopback_too_plain_text_is_refused_if_it_is_forbidden(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, pki: Pki
) -> None:
    with _with_tls(Served(postgres, tmp_path / "pgnotary"), pki.issue("127.0.0.1"), "required = true") as served:
        assert "has to be" in str(_refused(served, database, "eva", sslmode="disable"))


# --- the certificate is read again ---------------------------------------------------------------------------------


def _replace(old: Files, new: Files) -> None:
    shutil.copy(new.certificate, old.certificate)
    shutil.copy(new.key, old.key)


def _reload(served: Served, said: str) -> None:
    assert served.process is not None
    seen = served.log.count(said)
    served.process.send_signal(signal.SIGHUP)
    until(lambda: served.log.count(said) > seen, said)


def test_a_new_certificate_is_shown_to_who_comes_and_who_is_there_stays(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, pki: Pki
) -> None:
    files, other = pki.issue("127.0.0.1"), Pki(tmp_path / "other")
    with _with_tls(Served(postgres, tmp_path / "pgnotary", hold_s=60), files) as served:
        with served.connect(database, **_verified(pki, channel_binding="require")) as connection:
            holding = threading.Thread(target=lambda: connection.execute(DELETE))
            holding.start()
            paper = served.held()
            _replace(files, other.issue("127.0.0.1"))
            _reload(served, "the certificate was reloaded")
            assert "certificate verify failed" in str(_refused(served, database, "eva", **_verified(pki)))
            served.connect(database, **_verified(other, channel_binding="require")).close()
            served.decide(paper, Answer.APPROVE)
            holding.join(PATIENCE_S)
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (90,)
        # The new certificate with the old key, then nothing at all: each time the one before stays.
        for spoil in (lambda: shutil.copy(pki.issue("127.0.0.1").key, files.key), files.certificate.unlink):
            spoil()
            _reload(served, "the certificate was not reloaded, the one before stays in force")
            served.connect(database, **_verified(other, channel_binding="require")).close()
        assert len(served.rosters()) == 1


def test_check_and_serve_say_what_is_wrong_with_the_files(
    postgres: EmbeddedPostgres, tmp_path: Path, pki: Pki, capfd: pytest.CaptureFixture[str]
) -> None:
    files = pki.issue("127.0.0.1")
    served = _with_tls(Served(postgres, tmp_path / "pgnotary"), files)
    served.pgnotary("check")
    shutil.copy(pki.issue("127.0.0.1").key, files.key)
    served.pgnotary("check", expected=2)
    served.pgnotary("serve", expected=2)
    assert not served.ledger.exists()


# --- the server ----------------------------------------------------------------------------------------------------


def _dials(served: Served, port: int, pki: Pki) -> Served:
    text = served.config.read_text()
    old = f'address = "{served.postgres.host}:{served.postgres.port}"'
    assert old in text
    new = f'address = "localhost:{port}"\ntls = "verify-full"\nca_file = "{pki.ca}"'
    served.config.write_text(text.replace(old, new))
    return served


def test_a_server_behind_tls_is_read_from_written_to_and_cancelled(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, pki: Pki
) -> None:
    files = pki.issue("localhost")
    context = server_tls(files.certificate, files.key, None, required=True).context
    with Terminator(context, postgres.host, postgres.port) as terminator:
        with _dials(Served(postgres, tmp_path / "pgnotary", hold_s=60), terminator.port, pki) as served:
            _use(served, database)
        # The session, and what cancelled its statement.
        assert terminator.encrypted == 2


def test_a_server_that_carries_no_tls_is_refused(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, pki: Pki
) -> None:
    with _dials(Served(postgres, tmp_path / "pgnotary"), postgres.port, pki) as served:
        done = served.run_psql(database, "-c", "SELECT 1")
    assert f"FATAL:  PostgreSQL at localhost:{postgres.port} does not carry TLS" in done.stderr


def _use(served: Served, database: str) -> None:
    with served.connect(database) as connection:
        deciding = threading.Thread(target=served.approve)
        deciding.start()
        assert connection.execute(DELETE).rowcount == 10
        deciding.join(PATIENCE_S)
        row = connection.execute("SELECT repeat('x', 10000000)").fetchone()
        assert row is not None
        assert len(row[0]) == 10_000_000

        def cancel() -> None:
            with served.behind(database) as other:
                busy = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
                until(lambda: other.execute(busy, [database]).fetchone(), "the statement to run")
            connection.cancel_safe()

        cancelling = threading.Thread(target=cancel)
        cancelling.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(60)")
        cancelling.join(PATIENCE_S)


def _open_files(served: Served) -> int:
    assert served.process is not None
    return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="not run: there is no /proc here")
@pytest.mark.parametrize("said", [encode_startup({"user": "eva", "replication": "true"}), b"\0\0\0\1"])
def test_who_is_refused_and_answers_nothing_keeps_no_descriptor(secure: Served, pki: Pki, said: bytes) -> None:
    """TLS asks the peer to close, too, and waited half a minute for it, counted by no limit."""
    context = pki.client()
    context.set_alpn_protocols(["postgresql"])
    before = _open_files(secure)
    with ExitStack() as opened:
        for _ in range(20):
            plug = opened.enter_context(socket.create_connection(("127.0.0.1", secure.port), PATIENCE_S))
            deaf = opened.enter_context(context.wrap_socket(plug, server_hostname="localhost"))
            deaf.sendall(said)
        until(lambda: _open_files(secure) <= before, "the descriptors to be closed", 10.0)


@contextmanager
def _server_with_tls(pki: Pki) -> Iterator[EmbeddedPostgres]:
    """A server of the system that carries TLS, and lets nobody log in without."""
    files = pki.issue("localhost")
    with EmbeddedPostgres(bin_dir=DEBIAN) as server, reachable_folder() as folder:
        assert server.pid is not None
        owner = Path(f"/proc/{server.pid}").stat()
        key, certificate = folder / "server.key", folder / "server.pem"
        shutil.copy(files.key, key)
        shutil.copy(files.certificate, certificate)
        key.chmod(0o600)
        for path in (folder, key, certificate):
            os.chown(path, owner.st_uid, owner.st_gid)
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            for name, value in (("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl", "on")):
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
            until(lambda: connection.execute("SHOW ssl").fetchone() == ("on",), "TLS")
        yield server


@needs_server
async def test_postgresql_itself_is_logged_in_to_bound_to_its_certificate(tmp_path: Path, pki: Pki) -> None:
    with _server_with_tls(pki) as server:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as behind:
            behind.execute("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 100) i")
        with _dials(Served(server, tmp_path / "pgnotary", hold_s=60), server.port, pki) as served:
            _use(served, "postgres")
            with served.connect("postgres") as connection:
                pid = connection.info.backend_pid
                with psycopg.connect(server.dsn("postgres"), autocommit=True) as behind:
                    ssl = behind.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = %s", [pid]).fetchone()
            assert ssl == (True, "TLSv1.3")
        # What a crash has left is asked for by the same way.
        config = load(served.config)
        with psycopg.connect(server.dsn("postgres")) as behind:
            question = "SELECT pg_current_xact_id()::text, (SELECT system_identifier::text FROM pg_control_system())"
            row = behind.execute(question).fetchone()
            assert row is not None
            xid, system = row
        sent = Sent("R-1", "S-1", bytes(32), "eva", "postgres", xid, system, "00000001", None, undone=False)
        assert (await asking(lambda: config, upstream_of(config))(sent)).fate is State.COMMITTED
        elsewhere = Pki(tmp_path / "other")
        with _dials(Served(server, tmp_path / "distrust"), server.port, elsewhere) as served:
            done = served.run_psql("postgres", "-c", "SELECT 1")
        assert "shows a certificate that is not good for it" in done.stderr


# --- what attackers have found -------------------------------------------------------------------------------------


def _encrypted(served: Served, pki: Pki, *, direct: bool) -> ssl.SSLSocket:
    """Do the handshake and nothing else."""
    plug = socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S)
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.set_alpn_protocols(["postgresql"])
    if not direct:
        plug.sendall(bytes.fromhex("0000000804d2162f"))
        assert plug.recv(1) == b"S"
    return context.wrap_socket(plug, server_hostname="127.0.0.1")


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_who_leaves_behind_the_handshake_ends_nobody_elses_session(
    secure: Served, database: str, pki: Pki, *, direct: bool, reset: bool
) -> None:
    """It ended the proxy: a TLS transport of uvloop that has lost its connection does not know its peer any more."""
    with secure.connect(database, **_verified(pki)) as connection:
        for _ in range(3):
            plug = _encrypted(secure, pki, direct=direct)
            if reset:
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plug.close()
        # Whoever comes in now has come behind them.
        secure.connect(database, **_verified(pki)).close()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert "connection failed" not in secure.log


def test_a_session_that_has_ended_keeps_no_descriptor(secure: Served, database: str, pki: Pki) -> None:
    """Over TLS each kept two for half a minute if its client did not close, and counted nowhere."""
    assert secure.process is not None
    folder = Path(f"/proc/{secure.process.pid}/fd")
    if not folder.is_dir():
        pytest.skip("not run: no /proc to count descriptors in")
    before = len(list(folder.iterdir()))
    with ExitStack() as kept:
        for _ in range(5):
            client = Raw(kept.enter_context(_encrypted(secure, pki, direct=False)))
            client.login("eva", PASSWORD, database, PROTOCOL_3_0)
            client.send(TERMINATE)
        until(lambda: len(list(folder.iterdir())) <= before, "their descriptors to be free", patience_s=15)
